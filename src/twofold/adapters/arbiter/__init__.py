"""Who rules when two nodes lose each other: the kinds of `arbitration`, one file each."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.adapters.arbiter.etcd import EtcdWitness
from twofold.adapters.arbiter.ping import PingArbiter
from twofold.adapters.arbiter.service import ServiceWitness, Sign
from twofold.adapters.arbiter.witnesses import Witness, Witnesses
from twofold.config.load import NodeConfig

__all__ = ["PingArbiter", "Witness", "Witnesses", "make_arbiter", "make_witnesses"]


def make_witnesses(node: NodeConfig, sign: Sign) -> Sequence[Witness]:
    """The cluster's witnesses; one connection each, shared by all modules."""
    cluster = node.cluster.cluster.id
    found: list[Witness] = []
    for section in node.cluster.witnesses:
        if section.kind == "etcd":
            found.append(EtcdWitness(section, cluster))
        else:
            found.append(ServiceWitness(section, cluster, node.pki, sign))
    return found


def make_arbiter(
    kind: str, node: NodeConfig, module: str, witnesses: Sequence[Witness]
) -> Witnesses | PingArbiter | None:
    match kind:
        case "witness":
            return Witnesses(witnesses, module, node.name)
        case "ping":
            settle_s = node.cluster.heartbeat.timeout_s
            return PingArbiter(node.cluster.arbitration.ping, settle_s)
        case _:
            return None
