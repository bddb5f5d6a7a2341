"""From the shared look to the API's models."""

from __future__ import annotations

from typing import Any

from twofold.web.api.models import ClusterNode, Module, NodeModule, Resync, Traffic
from twofold.web.overview import Side, Whole, consoles
from twofold.web.settings import PORT
from twofold.web.watch import NodeSeen, Snapshot


def module_shown(whole: Whole, snapshot: Snapshot) -> Module:
    return Module(
        module=whole.module,
        kind=whole.kind,
        serving=whole.serving,
        health=whole.health,
        sentence=whole.sentence,
        next=whole.next,
        nodes=[_node_module(s, snapshot.node(s.node)) for s in whole.sides],
    )


def _node_module(side: Side, seen: NodeSeen | None) -> NodeModule:
    found = side.object
    if not found:
        error: dict[str, Any] = (seen.error if seen else None) or {}
        return NodeModule(
            node=side.node,
            reachable=side.reachable,
            sentence=str(error.get("text", "")),
            next=str(error.get("mend", "")),
        )
    peer: dict[str, Any] = found.get("peer") or {}
    return NodeModule.model_validate(
        {
            **{k: v for k, v in found.items() if v is not None},
            "reachable": side.reachable,
            "networks": peer.get("networks") or {},
            "resync": Resync.model_validate(found["resync"]) if found.get("resync") else None,
            "traffic": Traffic.model_validate(found["traffic"]) if found.get("traffic") else None,
        }
    )


def node_shown(seen: NodeSeen, snapshot: Snapshot) -> ClusterNode:
    members: list[dict[str, Any]] = snapshot.cluster.get("members", [])
    addresses: dict[str, str] = {}
    for member in members:
        if member["node"] == seen.node:
            addresses = dict(member["addresses"])
    return ClusterNode(
        node=seen.node,
        reachable=seen.reachable,
        text=str((seen.error or {}).get("text", "")),
        addresses=addresses,
        version=seen.cluster.get("version"),
        certificate_days=seen.cluster.get("certificate_days"),
        certificate_trouble=seen.cluster.get("certificate_trouble"),
        consoles=consoles(snapshot.cluster, seen.node, PORT),
    )
