"""The nodes that a module runs with, remembered for when the cluster does not name them any more.

A node is removed because it is dead for good, while its modules run here. They are not let go for
that: to them it is a node that is silent, until another takes its place. So they are watched, shown
as what they are, stopped and started again as before, also after a reboot.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from twofold.adapters.statefile import write_durably
from twofold.config.homes import within
from twofold.config.load import Module, NodeConfig
from twofold.config.schema import ClusterNode
from twofold.errors import ConfigError

FILE = "partners.json"


def with_partners(node: NodeConfig, module: Module, var: Path) -> NodeConfig:
    """The cluster, with those that the module ran with before where it is now short of a node.

    Raises when it is short of one and nobody is remembered.
    """
    file = var / module.name / FILE
    try:
        partners = within(node, module).peers
    except ConfigError as e:
        grown = _with(node, _remembered(file, node.cluster.cluster.id))
        try:
            within(grown, module)
        except ConfigError:
            raise e from None
        return grown
    content = _encoded(node.cluster.cluster.id, partners)
    if not file.exists() or file.read_bytes() != content:
        write_durably(file, content)
    return node


def removed(node: NodeConfig, partner: str) -> str:
    """What to do when a module's partner is none of the cluster's nodes any more, else nothing."""
    if not partner or partner in {n.name for n in node.cluster.nodes}:
        return ""
    return f"{partner} was removed from the cluster; for a second copy let another server join it."


def _with(node: NodeConfig, others: tuple[ClusterNode, ...]) -> NodeConfig:
    known = node.cluster.nodes
    new = tuple(n for n in others if n.name not in {k.name for k in known})
    return replace(node, cluster=node.cluster.model_copy(update={"nodes": (*known, *new)}))


def _encoded(cluster_id: str, partners: tuple[ClusterNode, ...]) -> bytes:
    nodes = [{"name": n.name, "addresses": n.addresses} for n in partners]
    return json.dumps({"cluster": cluster_id, "nodes": nodes}).encode()


def _remembered(file: Path, cluster_id: str) -> tuple[ClusterNode, ...]:
    """Nobody, when the file is not there, damaged or another cluster's."""
    try:
        found = json.loads(file.read_bytes())
        if found["cluster"] != cluster_id:
            return ()
        return tuple(ClusterNode.model_validate(n) for n in found["nodes"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()
