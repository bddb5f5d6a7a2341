"""Membership: who is in the cluster, leaving it, removing a node that is dead for good.

Joining is `twofold.daemon.admission` and `joining`. `Surroundings` is what the daemon lends to the
commands about configuration, here and in `twofold.daemon.configuration`.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twofold import __version__
from twofold.adapters import pki
from twofold.adapters.clock import Clock
from twofold.config import render
from twofold.config.homes import homes_of
from twofold.config.load import (
    Module,
    NodeConfig,
    digest_of,
    load_node,
    module_files,
    module_names,
    nearest,
    parse_cluster,
)
from twofold.config.schema import ClusterConfig
from twofold.config.schema_arbitration import ArbitrationSection
from twofold.config.units import format_duration
from twofold.config.users import FILE as USERS_FILE
from twofold.daemon.admission import grown_for, without_node
from twofold.errors import CommandRefused, NodeUnreachable
from twofold.ports import ClockPort, ControlPort

Body = Mapping[str, Any]
Answer = dict[str, Any]
Ask = Callable[[NodeConfig, str, Body], Awaitable[Body]]


@dataclass(frozen=True)
class Surroundings:
    """What the daemon lends: places, the other nodes, the modules' states, and its reload."""

    etc: Path
    var: Path  # what this node remembers
    places: tuple[Path, ...]  # where this node keeps its own files
    control: Callable[[], ControlPort]
    state_of: Callable[[str], str]  # "STOP", "PRIM", ...; "STOP" for a module it does not run
    reload: Callable[[], Awaitable[None]]
    running: Callable[[str], Module | None] = lambda name: None  # as the daemon loaded it
    clock: ClockPort = field(default_factory=Clock)
    note: Callable[[str, str, str], None] = lambda sentence, severity, code: None  # the journal


def configured(etc: Path) -> NodeConfig:
    """This node's configuration, or the sentence that says how to get one."""
    node = load_node(etc)
    if node is None:
        raise CommandRefused(
            "this machine is not part of a cluster yet",
            "Make one with: twofold cluster init --address ADDRESS",
        )
    return node


def digests(etc: Path) -> dict[str, str]:
    """Of each file that must be equal on all nodes."""
    cluster = (0o644, (etc / "cluster.toml").read_bytes())
    found = {"cluster.toml": digest_of({"cluster.toml": cluster})}
    for name in module_names(etc):
        for path, entry in module_files(etc / "modules" / name).items():
            found[f"modules/{name}/{path}"] = digest_of({path: entry})
    return found


def arbitrated(cluster: ClusterConfig, text: str) -> ClusterConfig:
    """The cluster with the arbitration that `text` (TOML) has, and nothing else of it."""
    bare = cluster.model_copy(
        update={"witnesses": (), "arbitration": ArbitrationSection.model_validate({})}
    )
    return parse_cluster(render.cluster_toml(bare) + "\n" + text)


class Membership:
    """`local` and `peer` are its commands; `ask(node, name, body)` asks another node."""

    def __init__(self, around: Surroundings, ask: Ask, trouble: Callable[[], str]) -> None:
        self._around = around
        self._trouble = trouble  # why a certificate cannot be renewed
        self._etc = around.etc
        self._ask = ask
        self.local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "cluster_state": self._cluster_state,
            "cluster_leave": self._cluster_leave,
            "cluster_remove": self._cluster_remove,
            "cluster_arbitration": self._cluster_arbitration,
        }
        self.peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_forget": self._peer_forget,
            "peer_removed": self._peer_removed,
            "peer_welcome": self._peer_welcome,
            "peer_arbitration": self._peer_arbitration,
        }

    async def _peer_forget(self, caller: str, body: Body) -> Answer:
        """The caller leaves the cluster."""
        self._forget(caller)
        await self._around.reload()
        return {}

    async def _peer_removed(self, caller: str, body: Body) -> Answer:
        """The caller removed a node that is dead for good."""
        self._forget(str(body.get("node")))
        await self._around.reload()
        return {}

    async def _peer_welcome(self, caller: str, body: Body) -> Answer:
        """The caller admits a new node. Told twice is told once."""
        addresses = {str(k): str(v) for k, v in dict(body.get("addresses") or {}).items()}
        before = configured(self._etc).cluster
        cluster = grown_for(self._etc, before, str(body.get("node")), addresses)
        if cluster != before:
            self._write_cluster(cluster)
            await self._around.reload()
        return {}

    async def introduce(self, newcomer: str, addresses: Mapping[str, str]) -> None:
        """Every node that is there knows a new one before that knows itself admitted."""
        body = {"command": "peer_welcome", "node": newcomer, "addresses": dict(addresses)}
        mend = "All nodes must know each other; start it and join again."
        await self._tell_peers(body, mend, but=newcomer)  # that one asks again

    async def _tell_peers(self, body: Body, mend: str, but: str = "") -> None:
        """Tells each other node, before this one writes; raises at the first silent one."""
        node = configured(self._etc)
        for peer in node.peers:
            if peer.name == but:
                continue
            try:
                await self._ask(node, peer.name, body)
            except NodeUnreachable as e:
                raise CommandRefused(
                    f"node {peer.name} cannot be told: {e.sentence}", mend
                ) from None

    async def _cluster_state(self, body: Body) -> Answer:
        node = load_node(self._etc)
        if node is None:  # asked while waiting for a new daemon to be there at all
            return {"cluster": None, "members": [], "modules": []}
        days = pki.expires_in_days((node.pki / "node.crt").read_bytes())
        return {
            "node": node.name,
            "version": __version__,
            "cluster": node.cluster.cluster.name,
            "cluster_id": node.cluster.cluster.id,
            "networks": [n.name for n in node.cluster.networks],
            "members": [
                {"node": n.name, "addresses": dict(n.addresses)} for n in node.cluster.nodes
            ],
            "certificate_days": round(days, 1),
            "certificate_trouble": self._trouble() or None,
            "modules": list(module_names(self._etc)),
            "homes": {n: list(homes_of(node, n)) for n in module_names(self._etc)},
            "digests": digests(self._etc),
        }

    async def _cluster_leave(self, body: Body) -> Answer:
        node = configured(self._etc)
        running = [n for n in module_names(self._etc) if self._around.state_of(n) != "STOP"]
        if running:
            raise CommandRefused(
                f"modules still run on this node: {', '.join(running)}",
                f"Stop them first: twofold stop {running[0]}",
            )
        for peer in node.peers:
            try:
                await self._ask(node, peer.name, {"command": "peer_forget"})
            except NodeUnreachable as e:
                if not body.get("force"):
                    raise CommandRefused(
                        f"node {peer.name} cannot be told: {e.sentence}",
                        "Start it, or leave with --force and remove this node there later.",
                    ) from None
        for name in (
            "cluster.toml",
            "node.toml",
            USERS_FILE,
            "notify.toml",
        ):  # first: without them nothing else is used
            (self._etc / name).unlink(missing_ok=True)
        for name in ("pki", "modules", "web"):
            shutil.rmtree(self._etc / name, ignore_errors=True)
        await self._around.reload()
        return {"left": node.cluster.cluster.name}

    async def _cluster_remove(self, body: Body) -> Answer:
        node, gone = configured(self._etc), str(body.get("node"))
        names = [n.name for n in node.peers]
        if gone == node.name:
            raise CommandRefused("this is that node", "Use: twofold cluster leave")
        if gone not in names:
            raise CommandRefused(
                f"there is no other node {gone!r}",
                nearest(gone, names) or f"There is {', '.join(names)}." if names else "",
            )
        try:
            await self._ask(node, gone, {"command": "peer_files"})
        except NodeUnreachable:
            body = {"command": "peer_removed", "node": gone}
            await self._tell_peers(body, f"Start it first, or remove it before {gone}.", but=gone)
            self._forget(gone)
            await self._around.reload()
            return {"removed": gone}
        raise CommandRefused(
            f"node {gone} is alive", f"Let it leave by itself: on {gone}, twofold cluster leave"
        )

    async def _cluster_arbitration(self, body: Body) -> Answer:
        """Witnesses and ping addresses: without `text` shown, with it set, on all nodes."""
        node = configured(self._etc)
        if body.get("text") is not None:
            cluster = arbitrated(node.cluster, str(body["text"]))
            await self.tell_arbitration(cluster)
            self._write_cluster(cluster)
            await self._around.reload()
            node = configured(self._etc)
        return {
            "cluster": node.cluster.cluster.name,
            "text": render.arbitration_toml(node.cluster),
            "ping": list(node.cluster.arbitration.ping),
            "timeout": format_duration(node.cluster.arbitration.timeout_s),
            "witnesses": [w.model_dump(exclude_defaults=True) for w in node.cluster.witnesses],
        }

    async def tell_arbitration(self, cluster: ClusterConfig) -> None:
        """The other nodes write it first: nobody asks a witness that the other does not know."""
        body = {"command": "peer_arbitration", "text": render.arbitration_toml(cluster)}
        mend = "All nodes must know the same witnesses; start it and try again."
        await self._tell_peers(body, mend)

    async def _peer_arbitration(self, caller: str, body: Body) -> Answer:
        node = configured(self._etc)
        self._write_cluster(arbitrated(node.cluster, str(body.get("text"))))
        await self._around.reload()
        return {}

    def _write_cluster(self, cluster: ClusterConfig) -> None:
        text = render.cluster_toml(cluster)
        parse_cluster(text)
        pki.write_file(self._etc / "cluster.toml", text.encode(), 0o644)

    def _forget(self, gone: str) -> None:
        node = configured(self._etc)
        self._write_cluster(without_node(node.cluster, gone))
