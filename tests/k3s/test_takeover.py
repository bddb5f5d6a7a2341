"""The take-over in Kubernetes against an API with real schemas and real semantics."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

from tests.k3s import schemas
from tests.k3s.api_stub import ApiStub, Refused
from twofold.k3s.kubeconfig import Access
from twofold.k3s.kubernetes import ApiRefused, ApiSilent, KubernetesApi
from twofold.k3s.takeover import LEASE_PATH, TAINT, Duty, Report, Sight, TakeOver, duty

Thing = dict[str, Any]
DEAD, ALIVE, AGENT = "10.0.0.1", "10.0.0.2", "10.0.0.3"
NAMES = {DEAD: "k3s-a", ALIVE: "k3s-b", AGENT: "agent"}


def node(ip: str, ready: str = "True", **spec: Any) -> Thing:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NAMES[ip]},
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": ip},
                {"type": "Hostname", "address": NAMES[ip]},
            ],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def lease(name: str, holder: str) -> Thing:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 90},
    }


def pod(name: str, on: str, **metadata: Any) -> Thing:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"nodeName": on, "containers": [{"name": "c", "image": "i"}]},
    }


@pytest.fixture
def api() -> Generator[ApiStub]:
    stub = ApiStub()
    for ip in NAMES:
        stub.put(f"/api/v1/nodes/{NAMES[ip]}", node(ip))
    for name, holder in (
        ("kube-controller-manager", "k3s-a_7f3c"),
        ("kube-scheduler", "k3s-b_11aa"),
        ("k3s-cloud-controller-manager", "k3s-a_9d"),
        ("k3s", "k3s-a"),
    ):
        stub.put(f"{LEASE_PATH}/{name}", lease(name, holder))
    for name, on in (
        *((f"web-{i}", "k3s-a") for i in range(5)),
        ("other", "k3s-b"),
        ("far", "agent"),
    ):
        stub.put(f"/api/v1/namespaces/default/pods/{name}", pod(name, on))
    yield stub
    stub.close()


def client(stub: ApiStub, deadline_s: float = 10.0, bound_s: float = 1.0) -> KubernetesApi:
    return KubernetesApi(Access(stub.url), deadline_s, bound_s)


def declare(stub: ApiStub, deadline_s: float = 10.0, **options: Any) -> Report:
    with client(stub, deadline_s) as api:
        return TakeOver(api, **options).declare_dead([DEAD, "192.168.1.1"])


def taints(stub: ApiStub, name: str) -> list[Thing]:
    return stub.objects[f"/api/v1/nodes/{name}"]["spec"].get("taints", [])


def pods(stub: ApiStub) -> set[str]:
    return {o["metadata"]["name"] for o in stub.objects.values() if o["kind"] == "Pod"}


def test_the_schemas_refuse_what_a_server_would() -> None:
    assert schemas.wrong(node(DEAD)) is None
    assert schemas.wrong(node(DEAD, taints=[{"key": "k", "effekt": "NoExecute"}])) is not None
    assert schemas.wrong({"apiVersion": "v1", "kind": "DeleteOptions", "grace": 0}) is not None


def test_everything_for_the_dead_node_and_nothing_for_others(api: ApiStub) -> None:
    report = declare(api)
    assert report.done and report.node == "k3s-a"
    holders = {
        path.rpartition("/")[2]: o["spec"]["holderIdentity"]
        for path, o in api.objects.items()
        if o["kind"] == "Lease"
    }
    assert holders == {
        "kube-controller-manager": "",
        "kube-scheduler": "k3s-b_11aa",
        "k3s-cloud-controller-manager": "",
        "k3s": "",
    }
    assert taints(api, "k3s-a") == [{"key": TAINT, "value": "twofold", "effect": "NoExecute"}]
    assert taints(api, "k3s-b") == taints(api, "agent") == []
    assert pods(api) == {"other", "far"}
    changed = {line.split()[1] for line in api.changes()}
    assert not any("agent" in path or path.endswith(("/other", "/far")) for path in changed)


def test_a_second_time_changes_nothing(api: ApiStub) -> None:
    declare(api)
    before = len(api.changes())
    assert declare(api).done
    assert len(api.changes()) == before


def test_other_taints_stay(api: ApiStub) -> None:
    theirs = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    api.put("/api/v1/nodes/k3s-a", node(DEAD, taints=[theirs]))
    declare(api)
    assert theirs in taints(api, "k3s-a") and len(taints(api, "k3s-a")) == 2


def test_a_server_that_kubernetes_does_not_know_is_no_reason_to_touch_another(
    api: ApiStub,
) -> None:
    with client(api) as link:
        report = TakeOver(link).declare_dead(["10.0.0.99"])
    assert "no node of Kubernetes has an address" in report.problems[0]
    assert api.changes() == []


def test_who_writes_at_the_same_time_is_not_overwritten(api: ApiStub) -> None:
    """The other controller takes the lease between our look and our patch; a kubelet's taint comes
    while we add ours."""
    path = f"{LEASE_PATH}/kube-controller-manager"
    late = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    interfered: set[str] = set()

    def interfere(method: str, at: str) -> None:
        if at in interfered:
            return
        interfered.add(at)
        if at == path:
            api.put(path, lease("kube-controller-manager", "k3s-b_new"))
        if at == "/api/v1/nodes/k3s-a":
            api.put(at, node(DEAD, taints=[late]))

    api.before_change = interfere
    assert declare(api).done
    assert api.objects[path]["spec"]["holderIdentity"] == "k3s-b_new"
    assert late in taints(api, "k3s-a") and len(taints(api, "k3s-a")) == 2
    assert any(line.endswith("409") for line in api.log)


def test_a_pod_of_the_same_name_on_a_living_node_stays(api: ApiStub) -> None:
    path = "/api/v1/namespaces/default/pods/web-3"

    def replace(method: str, at: str) -> None:
        if method == "DELETE" and at == path and api.objects[path]["spec"]["nodeName"] == "k3s-a":
            api.put(path, pod("web-3", "k3s-b"))

    api.before_change = replace
    assert declare(api).done
    assert pods(api) == {"other", "far", "web-3"}


def test_a_pod_that_vanishes_is_no_problem(api: ApiStub) -> None:
    def vanish(method: str, at: str) -> None:
        if at.endswith("web-1"):
            api.objects.pop(at, None)

    api.before_change = vanish
    assert declare(api).done


def test_finalizers_belong_to_their_owner(api: ApiStub) -> None:
    path = "/api/v1/namespaces/default/pods/job"
    api.put(path, pod("job", "k3s-a", finalizers=["batch.kubernetes.io/job-tracking"]))
    assert declare(api).done
    assert "deletionTimestamp" in api.objects[path]["metadata"]
    before = len(api.changes())
    assert declare(api).done
    assert len(api.changes()) == before, "asked once, not again and again"


def test_a_pod_that_is_terminating_slowly_is_still_deleted(api: ApiStub) -> None:
    stamp = {"deletionTimestamp": "2026-11-25T20:00:00Z", "deletionGracePeriodSeconds": 30}
    api.put("/api/v1/namespaces/default/pods/slow", pod("slow", "k3s-a", **stamp))
    assert "default/slow" in declare(api).pods


def test_not_now_is_asked_again(api: ApiStub) -> None:
    api.faults = [(503, {}), (429, {"retry-after": "1"}), 1.5, (500, {}), (502, {})]
    begun = time.monotonic()
    assert declare(api).done
    assert time.monotonic() - begun >= 1.0, "Retry-After counts"
    assert pods(api) == {"other", "far"}


def test_a_server_that_is_not_there_is_bounded(api: ApiStub) -> None:
    api.close()
    begun = time.monotonic()
    report = declare(api, deadline_s=2.0)
    assert time.monotonic() - begun < 4
    assert not report.done and "in time" in report.problems[0]


def test_a_silent_server_is_bounded(api: ApiStub) -> None:
    api.faults = [30.0] * 20
    begun = time.monotonic()
    with client(api, deadline_s=1.5, bound_s=0.5) as link, pytest.raises(ApiSilent):
        link.get("/api/v1/nodes")
    assert time.monotonic() - begun < 4


def test_one_step_that_fails_does_not_keep_the_others(api: ApiStub) -> None:
    """A webhook that ran on the dead node refuses everything it is asked about."""

    def broken(method: str, at: str) -> None:
        if method == "PATCH" and "/nodes/" in at:
            raise Refused(500, "failed calling webhook")
        if at.endswith("web-0"):
            raise Refused(403, "forbidden")

    api.before_change = broken
    report = declare(api)
    assert len(report.problems) == 2
    assert "failed calling webhook" in report.problems[0]
    assert len(report.leases) == 3
    assert pods(api) == {"other", "far", "web-0"}


def test_a_node_that_comes_back_is_left_alone_from_then_on(api: ApiStub) -> None:
    deleted: list[str] = []
    api.before_change = lambda method, at: deleted.append(at) if method == "DELETE" else None
    report = declare(api, still_dead=lambda: len(deleted) < 2)
    assert report.stopped and not report.done
    assert len(deleted) == 2


def test_the_taint_goes_when_the_node_is_ready_again(api: ApiStub) -> None:
    declare(api)
    both = ([DEAD], [ALIVE])
    found = taints(api, "k3s-a")
    api.put("/api/v1/nodes/k3s-a", node(DEAD, ready="Unknown", taints=found))
    with client(api) as link:
        waiting = TakeOver(link).welcome(both)
    assert waiting.problems == ["k3s-a is not Ready yet, so its taint stays"]
    theirs = {"key": "dedicated", "effect": "NoSchedule"}
    api.put("/api/v1/nodes/k3s-a", node(DEAD, taints=[theirs, *found]))
    with client(api) as link:
        assert TakeOver(link).welcome(both).untainted == ["k3s-a"]
        assert taints(api, "k3s-a") == [theirs]
        assert TakeOver(link).welcome(both) == Report()


def test_a_taint_that_a_person_set_stays(api: ApiStub) -> None:
    theirs = {"key": TAINT, "value": "nodeshutdown", "effect": "NoExecute"}
    api.put("/api/v1/nodes/k3s-a", node(DEAD, taints=[theirs]))
    declare(api)
    with client(api) as link:
        assert TakeOver(link).welcome(([DEAD],)).untainted == []
    assert taints(api, "k3s-a") == [theirs]


def test_what_is_wrong_is_not_repeated(api: ApiStub) -> None:
    with client(api) as link, pytest.raises(ApiRefused) as refused:
        link.patch("/api/v1/nodes/k3s-a", {"spec": {"taints": [{"key": "k"}]}})
    assert refused.value.status == 422
    assert len(api.log) == 1


@pytest.mark.parametrize(
    ("sight", "wanted"),
    [
        (Sight("ALONE", "a", peer_heard=False), Duty.DECLARE_DEAD),
        (Sight("ALONE", "a", peer_heard=True), Duty.WELCOME),
        (Sight("PRIM", "a", peer_heard=True), Duty.WELCOME),
        (Sight("PRIM", "a", peer_heard=False), Duty.NOTHING),  # the rules are deciding
        (Sight("SECOND", "a", peer_heard=False), Duty.NOTHING),
        (Sight("WAIT", "a", peer_heard=False), Duty.NOTHING),
        (Sight("STOP", "a", peer_heard=False), Duty.NOTHING),
    ],
)
def test_only_who_serves_alone_calls_the_other_dead(sight: Sight, wanted: Duty) -> None:
    assert duty(sight) is wanted
