"""Daemon to daemon, TCP 9011: who may say what.

Frame: `twofold.wire.lines`, one request on each connection, over mutual TLS 1.3. A request also
carries `version`; a peer of another version is refused in a sentence. The caller's name comes from
its certificate and from nowhere else. A caller without certificate may say two things only: `ca`
(which certificate authority are you?) and `join` (admit me; see `twofold.wire.token`).

A certificate's name is `NODE.CLUSTER_UUID.twofold`; the engine's connections use the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.errors import PeerRefused

PORT = 9011
VERSION = 1
JOIN_COMMANDS = frozenset({"ca", "join"})
_SUFFIX = "twofold"


def certificate_name(node: str, cluster_id: str) -> str:
    return f"{node}.{cluster_id}.{_SUFFIX}"


def node_of_certificate(names: list[str], cluster_id: str) -> str:
    """The node that a verified certificate's DNS names stand for."""
    for name in names:
        node, _, rest = name.partition(".")
        if node and rest == f"{cluster_id}.{_SUFFIX}":
            return node
    raise PeerRefused("the caller's certificate is of another cluster")


def control_body(body: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "version": VERSION}


def check_version(body: dict[str, Any]) -> dict[str, Any]:
    """The body without `version`, when it is ours."""
    version = body.pop("version", None)
    if version != VERSION:
        raise PeerRefused(
            f"the other node speaks control protocol {version}, this one {VERSION}",
            "Install the same version of Twofold on both nodes.",
        )
    return body


def check_admissible(body: Mapping[str, Any]) -> None:
    """Refuse what a caller without certificate may not say."""
    if body.get("command") not in JOIN_COMMANDS:
        raise PeerRefused(
            "a node without a certificate of this cluster can only join",
            "Use: twofold cluster join",
        )
