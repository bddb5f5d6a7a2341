"""How a cluster begins: `twofold cluster init` makes its authority and its first node.

Runs in the command itself, as root; no daemon is needed, and one that runs unconfigured notices
the new cluster.toml by itself, which therefore is written last.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from twofold.adapters import pki
from twofold.config.load import NodeConfig, load_node, parse_cluster
from twofold.config.render import cluster_toml, node_toml
from twofold.config.schema import ClusterConfig
from twofold.config.users import with_user
from twofold.daemon.users import read_users, write_users
from twofold.errors import CommandRefused, OperatorError

ADMINISTRATOR = "admin"


def found(
    etc: Path, node: str, addresses: Mapping[str, str], cluster_name: str, flow: str | None
) -> NodeConfig:
    """Make CA, keys and files of a cluster of one node; cluster.toml comes last."""
    refuse_if_configured(etc)
    cluster_id = str(uuid.uuid4())
    text = cluster_toml(_cluster_of_one(node, addresses, cluster_name, cluster_id, flow))
    parse_cluster(text)
    authority = pki.create_authority(cluster_id)
    key = pki.create_key()
    request = pki.create_request(key, node)
    pki.write_pki(
        etc / "pki",
        {
            "ca.key": authority.key,
            "ca.crt": authority.certificate,
            "node.key": key,
            "node.crt": pki.sign_request(authority, request, node, cluster_id),
            "heartbeat.key": pki.create_heartbeat_key(),
        },
    )
    pki.write_file(etc / "node.toml", node_toml(node).encode(), 0o644)
    pki.write_file(etc / "cluster.toml", text.encode(), 0o644)
    configured = load_node(etc)
    assert configured is not None, "it was just written"
    return configured


def found_administrator(etc: Path, password_hash: str) -> None:
    """The first user, `admin`; the others are made with `twofold user`."""
    write_users(etc, with_user(read_users(etc), ADMINISTRATOR, "admin", password_hash, time.time()))


def refuse_if_configured(etc: Path) -> None:
    if (etc / "cluster.toml").exists():
        node = load_node(etc)
        whom = f"node {node.name} of cluster {node.cluster.cluster.name!r}" if node else "in one"
        raise CommandRefused(
            f"this machine is {whom} already",
            "See: twofold cluster state. To leave it: twofold cluster leave",
        )


def _cluster_of_one(
    node: str, addresses: Mapping[str, str], name: str, cluster_id: str, flow: str | None
) -> ClusterConfig:
    networks = [{"name": n, "flow": n == flow} for n in addresses]
    try:
        return ClusterConfig.model_validate(
            {
                "cluster": {"name": name, "id": cluster_id},
                "network": networks,
                "node": [{"name": node, "addresses": dict(addresses)}],
            }
        )
    except ValidationError as e:
        raise OperatorError(_first_complaint(e.errors()[0]["msg"])) from None


def _first_complaint(message: str) -> str:
    return message.removeprefix("Value error, ")
