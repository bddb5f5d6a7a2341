"""The take-over in Kubernetes: what its API is told when a server is dead, and when it is back.

Kubernetes alone needs some six minutes to start a dead node's pods elsewhere, because it cannot
know that the node is dead. Twofold does know. So, for the dead node only:

1. leases of the control plane that it holds are released: the other server's controllers begin;
2. it gets the taint `node.kubernetes.io/out-of-service`: Kubernetes lets go of its volumes;
3. its pods are deleted without waiting for its kubelet.

When it is back, the taint goes. Each step looks first and changes only what is not so yet, with the
version or identity of what it saw: it can be stopped and repeated at any point, and what happened
meanwhile is never overwritten. Before each change it is asked again whether the node is still dead.

Whose node is meant is known by addresses: a node of Kubernetes is a server of the cluster when one
of its InternalIPs is one of the server's own. All other nodes (agents) are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from twofold.k3s.kubernetes import ApiRefused, ApiSilent, Conflict, KubernetesApi, NotThere, Thing

TAINT = "node.kubernetes.io/out-of-service"
OURS = "twofold"  # the taint's value: one that a person has set is left alone
LEASES = ("kube-controller-manager", "kube-scheduler", "k3s-cloud-controller-manager", "k3s")
LEASE_PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
ATTEMPTS = 4  # at one object that others change at the same time
SERVING = ("PRIM", "ALONE")


class Duty(Enum):
    NOTHING = "nothing"
    DECLARE_DEAD = "declare the other node dead"
    WELCOME = "welcome the other node back"


@dataclass(frozen=True)
class Sight:
    """What Twofold knows, as this node's daemon says it."""

    state: str
    peer: str
    peer_heard: bool


def duty(sight: Sight) -> Duty:
    """Alone is what the rules have decided (and a witness, where there is one); silence alone is
    not death. While they are deciding, nothing is said."""
    if sight.state not in SERVING:
        return Duty.NOTHING
    if sight.peer_heard:
        return Duty.WELCOME
    return Duty.DECLARE_DEAD if sight.state == "ALONE" else Duty.NOTHING


def node_of(addresses: Iterable[str], nodes: Iterable[Thing]) -> Thing | None:
    """The node of Kubernetes that is the server with these addresses; None when there is not
    exactly one."""
    wanted = set(addresses)
    found = [node for node in nodes if wanted & internal_ips(node)]
    return found[0] if len(found) == 1 else None


def internal_ips(node: Thing) -> set[str]:
    addresses: list[Mapping[str, Any]] = node.get("status", {}).get("addresses", [])
    return {str(a["address"]) for a in addresses if a.get("type") == "InternalIP"}


def is_ready(node: Thing) -> bool:
    conditions: list[Mapping[str, Any]] = node.get("status", {}).get("conditions", [])
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def taints_of(node: Thing) -> list[Mapping[str, Any]]:
    return list(node.get("spec", {}).get("taints") or [])


def holds(node: str, lease: Thing) -> bool:
    """Controllers call themselves NODE_UUID, K3s's own NODE; no node's name has an underscore."""
    holder = str(lease.get("spec", {}).get("holderIdentity") or "")
    return holder.partition("_")[0] == node


def with_taint(taints: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """None when nothing has to change (also when a person has set it)."""
    if any(t.get("key") == TAINT and t.get("effect") == "NoExecute" for t in taints):
        return None
    return [*taints, {"key": TAINT, "value": OURS, "effect": "NoExecute"}]


def without_taint(taints: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    kept = [t for t in taints if not (t.get("key") == TAINT and t.get("value") == OURS)]
    return kept if len(kept) != len(taints) else None


def ends_by_itself(pod: Thing) -> bool:
    """Deleted already and only held by a finalizer, whose owner has to act."""
    metadata = pod.get("metadata", {})
    grace = metadata.get("deletionGracePeriodSeconds", 1)
    return "deletionTimestamp" in metadata and grace == 0


@dataclass
class Report:
    """What was changed, and what could not be."""

    node: str | None = None
    leases: list[str] = field(default_factory=list[str])
    tainted: bool = False
    untainted: list[str] = field(default_factory=list[str])
    pods: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])
    stopped: bool = False  # the node came back meanwhile

    @property
    def done(self) -> bool:
        return not self.problems and not self.stopped

    @property
    def changed(self) -> bool:
        return bool(self.leases or self.tainted or self.untainted or self.pods)


class _CameBack(Exception):
    """The node is not dead any more."""


class TakeOver:
    def __init__(self, api: KubernetesApi, still_dead: Callable[[], bool] = lambda: True) -> None:
        self._api = api
        self._still_dead = still_dead

    def declare_dead(self, addresses: Iterable[str]) -> Report:
        """Everything for the server with these addresses. A step that fails does not keep the next
        from being tried; `problems` says so, and the whole is repeated by whoever called."""
        report = Report()
        try:
            node = node_of(addresses, self._api.items(NODES))
            if node is None:
                report.problems.append(
                    "no node of Kubernetes has an address of the dead server; nothing was changed"
                )
                return report
            report.node = str(node["metadata"]["name"])
            for step in (self._release_leases, self._taint, self._delete_pods):
                try:
                    step(report.node, report)
                except ApiRefused as e:
                    report.problems.append(str(e))
        except ApiSilent as e:
            report.problems.append(str(e))
        except _CameBack:
            report.stopped = True
        return report

    def welcome(self, servers: Sequence[Iterable[str]]) -> Report:
        """The taint goes from each of these servers that is Ready again."""
        report = Report()
        try:
            nodes = list(self._api.items(NODES))
            for addresses in servers:
                node = node_of(addresses, nodes)
                if node is None or without_taint(taints_of(node)) is None:
                    continue
                name = str(node["metadata"]["name"])
                if not is_ready(node):
                    report.problems.append(f"{name} is not Ready yet, so its taint stays")
                elif self._change_taints(name, without_taint, guarded=False):
                    report.untainted.append(name)
        except (ApiSilent, ApiRefused) as e:
            report.problems.append(str(e))
        return report

    def _guard(self) -> None:
        if not self._still_dead():
            raise _CameBack

    def _release_leases(self, node: str, report: Report) -> None:
        for name in LEASES:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    lease = self._api.get(f"{LEASE_PATH}/{name}")
                    if not holds(node, lease):
                        break
                    self._guard()
                    version = lease["metadata"]["resourceVersion"]
                    change = {
                        "metadata": {"resourceVersion": version},
                        "spec": {"holderIdentity": ""},
                    }
                    self._api.patch(f"{LEASE_PATH}/{name}", change)
                    report.leases.append(name)
                    break
                except NotThere:
                    break
                except Conflict:
                    if attempt == ATTEMPTS:
                        raise

    def _taint(self, node: str, report: Report) -> None:
        report.tainted = self._change_taints(node, with_taint, guarded=True)

    def _change_taints(
        self,
        node: str,
        change: Callable[[Sequence[Mapping[str, Any]]], list[Mapping[str, Any]] | None],
        guarded: bool,
    ) -> bool:
        for attempt in range(1, ATTEMPTS + 1):
            now = self._api.get(f"{NODES}/{node}")
            taints = change(taints_of(now))
            if taints is None:
                return False
            if guarded:
                self._guard()
            version = now["metadata"]["resourceVersion"]
            try:
                self._api.patch(
                    f"{NODES}/{node}",
                    {"metadata": {"resourceVersion": version}, "spec": {"taints": taints}},
                )
                return True
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
        return False

    def _delete_pods(self, node: str, report: Report) -> None:
        for pod in self._api.items(PODS, fieldSelector=f"spec.nodeName={node}"):
            if ends_by_itself(pod):
                continue
            self._guard()
            metadata = pod["metadata"]
            place = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            options = {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "gracePeriodSeconds": 0,
                # A pod of the same name that was made since is another pod, on a living node.
                "preconditions": {"uid": metadata["uid"]},
            }
            try:
                self._api.delete(place, options)
                report.pods.append(f"{metadata['namespace']}/{metadata['name']}")
            except (NotThere, Conflict):
                continue  # gone, or replaced
            except ApiRefused as e:
                report.problems.append(str(e))
