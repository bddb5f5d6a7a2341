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
        trouble = seen.cluster.get("certificate_trouble")
        left = f"{float(days):.0f} days left" if days is not None else ""
        soon = days is not None and float(days) < RENEW_SOON_DAYS
        links = consoles(snapshot.cluster, seen.node, port)
        rows.append(
            NodeRow(
                seen.node,
                seen.reachable,
                "answers" if seen.reachable else str((seen.error or {}).get("text", "not asked")),
                ", ".join(f"{n} {ip}" for n, ip in addresses.get(seen.node, {}).items()),
                str(seen.cluster.get("version") or ""),
                f"{left}, cannot be renewed: {trouble}" if trouble else left,
                "bad" if trouble else "warn" if soon else "good",
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


@dataclass(frozen=True)
class Arbiter:
    """Somebody who may rule."""

    name: str
    kind: str
    address: str


_KINDS = {"twofold": "witness", "etcd": "etcd"}
_RULED_BY = {"none": "nobody", "ping": "a ping address", "witness": "the witness"}


def arbiters(answer: Object) -> tuple[Arbiter, ...]:
    """Of the answer to `cluster_arbitration`."""
    witnesses: list[dict[str, Any]] = answer.get("witnesses") or []
    found = [
        Arbiter(
            str(w.get("name") or "witness"),
            _KINDS.get(str(w.get("kind")), "witness"),
            str(w.get("address") or ", ".join(w.get("endpoints") or ())),
        )
        for w in witnesses
    ]
    pinged = [Arbiter(str(ip), "ping address", str(ip)) for ip in answer.get("ping") or ()]
    return tuple(found + pinged)


@dataclass(frozen=True)
class Ruling:
    """What a module's node says of its arbiter."""

    module: str
    who: str
    heard: bool | None
    text: str


def rulings(snapshot: Snapshot) -> tuple[Ruling, ...]:
    """For each module, each node's look at who rules for it."""
    rows: list[Ruling] = []
    for module in snapshot.module_names():
        for seen, found in snapshot.objects(module):
            ruled: Object = (found or {}).get("arbitration") or {}
            if not ruled:
                continue
            kind, heard = str(ruled.get("kind")), ruled.get("heard")
            if kind == "none":
                rows.append(Ruling(module, "nobody", None, "both nodes may go on alone in a cut"))
                break
            can = {True: "can rule", False: "cannot rule", None: "not looked at yet"}[heard]
            text = f"seen from {seen.node}: {can}"
            if heard is False and ruled.get("text"):
                text += f" ({ruled['text']}); nobody would serve after a cut"
            rows.append(Ruling(module, _RULED_BY.get(kind, kind), heard, text))
    return tuple(rows)


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
            f"{str(r['command']).replace('_', ' ')} {r['module']}".strip()
            + (f" on {r['nodes']}" if r["nodes"] else ""),
            str(r["result"]) + (f": {r['detail']}" if r["detail"] else ""),
            r["result"] == "accepted",
        )
        for r in ordered
    )


def day(at: float | None) -> str:
    return time.strftime("%d %b %Y", time.localtime(at)) if at else ""
