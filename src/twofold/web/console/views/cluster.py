"""The cluster as tables: nodes, networks with their heartbeats, users, audit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twofold.web.console.views import words
from twofold.web.overview import consoles
from twofold.web.watch import Object, Snapshot

RENEW_SOON_DAYS = 60.0


@dataclass(frozen=True)
class NodeRow:
    node: str
    up: bool
    text: str
    addresses: str
    version: str
    certificate: str
    certificate_tone: str
    console: str


@dataclass(frozen=True)
class NetworkRow:
    network: str
    heard: tuple[tuple[str, bool | None], ...]  # "a hears b", None: not known


def nodes(snapshot: Snapshot, port: int) -> tuple[NodeRow, ...]:
    members: list[dict[str, Any]] = snapshot.cluster.get("members", [])
    addresses = {str(m["node"]): dict(m["addresses"]) for m in members}
    rows: list[NodeRow] = []
    for seen in snapshot.nodes:
        days = seen.cluster.get("certificate_days")
        known = days is not None
        links = consoles(snapshot.cluster, seen.node, port)
        rows.append(
            NodeRow(
                seen.node,
                seen.reachable,
                "answers" if seen.reachable else str((seen.error or {}).get("text", "not asked")),
                ", ".join(f"{n} {ip}" for n, ip in addresses.get(seen.node, {}).items()),
                str(seen.cluster.get("version") or ""),
                f"{float(days):.0f} days left" if known else "",
                "warn" if known and float(days) < RENEW_SOON_DAYS else "good",
                links[0] if links else "",
            )
        )
    return tuple(rows)


def networks(snapshot: Snapshot) -> tuple[NetworkRow, ...]:
    """Heartbeats as the nodes hear them; a module on a node tells which networks it hears."""
    rows: list[NetworkRow] = []
    for network in snapshot.cluster.get("networks", ()):
        heard: list[tuple[str, bool | None]] = []
        for seen in snapshot.nodes:
            peers: list[dict[str, Any]] = [m.get("peer") or {} for m in seen.modules]
            peer = next((p for p in peers if p.get("networks")), None)
            verdict = None if peer is None else peer["networks"].get(network)
            name = str(peer["node"]) if peer else "the other"
            heard.append((f"{seen.node} hears {name}", verdict))
        rows.append(NetworkRow(str(network), tuple(heard)))
    return tuple(rows)


def drift(snapshot: Snapshot) -> tuple[str, ...]:
    """Files that are not equal on the nodes that answer."""
    digests: list[dict[str, str]] = [
        n.cluster.get("digests") or {} for n in snapshot.nodes if n.reachable
    ]
    if len(digests) < 2:
        return ()
    files = sorted({f for d in digests for f in d})
    return tuple(f for f in files if len({d.get(f) for d in digests}) > 1)


@dataclass(frozen=True)
class AuditRow:
    at: str
    node: str
    who: str
    where: str
    what: str
    result: str
    good: bool


def audit(records: Iterable[Object], now: float) -> tuple[AuditRow, ...]:
    """Newest first."""
    ordered = sorted(records, key=lambda r: float(r["at"]), reverse=True)
    return tuple(
        AuditRow(
            words.clock(float(r["at"]), now),
            str(r["node"]),
            str(r["who"]),
            f"{r['source']} ({r['via']})",
            f"{r['command']} {r['module']}".strip() + (f" on {r['nodes']}" if r["nodes"] else ""),
            str(r["result"]) + (f": {r['detail']}" if r["detail"] else ""),
            r["result"] == "accepted",
        )
        for r in ordered
    )


def day(at: float | None) -> str:
    return time.strftime("%d %b %Y", time.localtime(at)) if at else ""
