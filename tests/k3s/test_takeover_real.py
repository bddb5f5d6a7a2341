"""The take-over against Kubernetes' own API server and controllers. Long: they are built once.

No kubelet runs and no container: what is shown is what the control plane does with what it is told.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.k3s.control_plane import LEASE_S, NODES, ControlPlane, until
from tests.k3s.kubernetes_build import BUILD_WITHIN_S, CannotBuild, provide
from twofold.k3s.kubernetes import ApiRefused, Conflict, KubernetesApi
from twofold.k3s.takeover import LEASE_PATH, TAINT, Report, TakeOver, taints_of

Thing = dict[str, Any]
IPS = {"k3s-a": "10.0.0.1", "k3s-b": "10.0.0.2", "agent": "10.0.0.3"}
PODS = 6
HOSTNAME = "kubernetes.io/hostname"
SCHEDULER = "kube-scheduler k3s-a"  # the name of its log
pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_WITHIN_S + 900),
]


@pytest.fixture(scope="module")
def plane() -> Generator[ControlPlane]:
    try:
        programs = provide()
    except CannotBuild as e:
        pytest.skip(str(e))
    with tempfile.TemporaryDirectory(prefix="twofold-kubernetes-") as home:
        made = ControlPlane(programs, Path(home))
        try:
            made.start()
            for host, ip in IPS.items():
                made.live(host, ip)
            made.controllers("k3s-a")
            until(lambda: leader(made) == "k3s-a", 120, "a's controllers lead")
            made.controllers("k3s-b")
            yield made
        finally:
            made.close()


def leader(plane: ControlPlane) -> str:
    """The host whose controller manager and scheduler both have their lease; "" when mixed."""
    found = {
        lease["metadata"]["name"]: str(lease["spec"].get("holderIdentity", "")).partition("_")[0]
        for lease in plane.ask("GET", LEASE_PATH)["items"]
    }
    held = {found.get(name, "") for name in ("kube-controller-manager", "kube-scheduler")}
    return held.pop() if len(held) == 1 else ""


def deploy(plane: ControlPlane, name: str, replicas: int) -> None:
    labels = {"app": name}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    container = {"name": "c", "image": "registry.invalid/nothing"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "topologySpreadConstraints": [spread]},
    }
    body = {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }
    plane.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)


def places(plane: ControlPlane) -> list[str]:
    """Of each pod that is not being deleted and runs: on which node."""
    return sorted(
        str(pod["spec"].get("nodeName", ""))
        for pod in plane.ask("GET", "/api/v1/namespaces/default/pods")["items"]
        if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") == "Running"
    )


def declared_dead(plane: ControlPlane, ip: str) -> Report:
    with KubernetesApi(plane.access(), deadline_s=30) as api:
        return TakeOver(api).declare_dead([ip, "192.168.1.1"])


def test_a_dead_servers_work_begins_elsewhere_in_seconds(plane: ControlPlane) -> None:
    """Without being told, the controllers wait for the lease, and the pods five minutes more."""
    for host in IPS:
        plane.ask("PATCH", f"{NODES}/{host}", {"metadata": {"labels": {HOSTNAME: host}}})
    deploy(plane, "web", PODS)
    until(lambda: len(places(plane)) == PODS, 60, f"{PODS} pods run: {plane.log(SCHEDULER)}")
    assert "k3s-a" in places(plane), "the test needs some on the node that dies"

    plane.die("k3s-a")
    begun_s = time.monotonic()
    report = declared_dead(plane, IPS["k3s-a"])
    assert report.done and report.node == "k3s-a" and report.tainted, report
    assert set(report.leases) >= {"kube-controller-manager", "kube-scheduler"}

    until(lambda: leader(plane) == "k3s-b", LEASE_S / 2, "b's controllers lead")
    elsewhere = lambda: len(places(plane)) == PODS and "k3s-a" not in places(plane)  # noqa: E731
    until(elsewhere, LEASE_S / 2, f"all pods run elsewhere: {places(plane)}")
    took_s = time.monotonic() - begun_s
    assert took_s < LEASE_S, "the lease alone would have taken longer"
    print(f"\nAll {PODS} pods run elsewhere {took_s:.1f} s after the death was declared.")

    again = declared_dead(plane, IPS["k3s-a"])
    assert again.done and not again.changed, "a second time changes nothing"
    for host in ("k3s-b", "agent"):
        assert TAINT not in {t["key"] for t in taints_of(plane.ask("GET", f"{NODES}/{host}"))}


def test_the_taint_goes_when_the_server_is_ready_again(plane: ControlPlane) -> None:
    node = f"{NODES}/k3s-a"
    until(lambda: ready(plane.ask("GET", node)) != "True", 60, "it is known to be away")
    with KubernetesApi(plane.access(), deadline_s=30) as api:
        early = TakeOver(api).welcome([[IPS["k3s-a"]], [IPS["k3s-b"]]])
        assert early.problems == ["k3s-a is not Ready yet, so its taint stays"]
        plane.live("k3s-a", IPS["k3s-a"])
        until(lambda: ready(plane.ask("GET", node)) == "True", 60, "it is Ready")
        assert TakeOver(api).welcome([[IPS["k3s-a"]], [IPS["k3s-b"]]]).untainted == ["k3s-a"]
    until(lambda: taints_of(plane.ask("GET", node)) == [], 60, "it can have pods again")


def test_the_servers_own_refusals_are_understood(plane: ControlPlane) -> None:
    with KubernetesApi(plane.access(), deadline_s=10) as api:
        seen = api.get(f"{NODES}/agent")
        api.patch(f"{NODES}/agent", {"metadata": {"labels": {"seen": "yes"}}})
        late = {
            "metadata": {"resourceVersion": seen["metadata"]["resourceVersion"]},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
        }
        with pytest.raises(Conflict):
            api.patch(f"{NODES}/agent", late)
        with pytest.raises(ApiRefused) as refused:
            api.patch(f"{NODES}/agent", {"spec": {"taints": [{"key": "k", "effect": "Nothing"}]}})
        assert refused.value.status == 422
        pod = next(iter(api.items("/api/v1/namespaces/default/pods")))
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": "of-another"},
        }
        with pytest.raises(Conflict):
            api.delete(f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}", options)


def ready(node: Thing) -> str:
    conditions: list[Thing] = node["status"].get("conditions", [])
    return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "")
