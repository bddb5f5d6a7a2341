"""One look at the cluster for everybody: polled once, shared by all browsers, programs and metrics.

Each node has a loop of its own, so that a dead one delays nobody. This node is looked at every
second (a load balancer may ask for it at any moment), the others every second while somebody
watches and every five seconds otherwise. A snapshot is immutable; `version` grows when it changes
in anything but clocks and counters that always grow.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from twofold.errors import TwofoldError
from twofold.web.daemon_link import Link
from twofold.web.history import History

Object = dict[str, Any]

WATCHED_EVERY_S = 1.0
UNWATCHED_EVERY_S = 5.0
CLUSTER_EVERY_S = 5.0
ASKED_RECENTLY_S = 30.0
NODE_TIMEOUT_S = 2.0
ENTRIES_MAX = 2_000
FRESH_S = 5.0


@dataclass(frozen=True)
class NodeSeen:
    """A node as it last answered; `error` when it does not answer now."""

    node: str
    reachable: bool = False
    error: Object | None = None
    modules: tuple[Object, ...] = ()
    cluster: Object = field(default_factory=dict[str, Any])
    seen_at: float = 0.0  # seconds since 1970, of the last answer


@dataclass(frozen=True)
class Snapshot:
    here: str = ""  # this node's name; "" while it is part of no cluster
    cluster: Object = field(default_factory=dict[str, Any])
    nodes: tuple[NodeSeen, ...] = ()
    error: Object | None = None  # this node's daemon does not answer
    at: float = 0.0

    def node(self, name: str) -> NodeSeen | None:
        return next((n for n in self.nodes if n.node == name), None)

    def module_names(self) -> list[str]:
        names = {str(m["module"]) for n in self.nodes for m in n.modules}
        return sorted(names | {str(m) for m in self.cluster.get("modules", ())})

    def objects(self, module: str) -> list[tuple[NodeSeen, Object | None]]:
        """Each node that the module lives on with its object for it, None where it has none."""
        every: dict[str, list[str]] = self.cluster.get("homes") or {}
        homes = every.get(module)
        return [
            (n, next((m for m in n.modules if m["module"] == module), None))
            for n in self.nodes
            if homes is None or n.node in homes
        ]


class Watch:
    def __init__(self, link: Link) -> None:
        self._link = link
        self.snapshot = Snapshot()
        self.version = 0
        self.entries: deque[Object] = deque(maxlen=ENTRIES_MAX)
        self.entries_version = 0
        self.history = History()
        self._since: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._watchers = 0
        self._asked_at = 0.0

    # --- for those who look ---------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Generator[None]:
        """While it lasts, the other nodes are looked at every second."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    def now(self) -> Snapshot:
        """The latest; who asks now and then makes the looks frequent for a while."""
        self._asked_at = time.monotonic()
        return self.snapshot

    async def wait_change(self, version: int, timeout_s: float) -> bool:
        """True when there is something newer than `version`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.version == version:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def look_again(self) -> None:
        """Right after a command: its effect is to be seen at once, a new module too."""
        await self._look_at_cluster()
        for node in self.snapshot.nodes:
            await self._look_at(node.node)

    def _is_watched(self) -> bool:
        return self._watchers > 0 or time.monotonic() - self._asked_at < ASKED_RECENTLY_S

    # --- the loops --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._look_at_cluster()
                await asyncio.sleep(CLUSTER_EVERY_S if self.snapshot.here else WATCHED_EVERY_S)
        finally:
            for loop in self._loops.values():
                loop.cancel()

    async def _look_at_cluster(self) -> None:
        try:
            cluster = await self._link.ask("cluster_state", timeout_s=NODE_TIMEOUT_S)
        except TwofoldError as e:
            self._publish(replace(self.snapshot, error=error_of(e)))
            return
        names = [str(m["node"]) for m in cluster["members"]]
        kept = {n.node: n for n in self.snapshot.nodes}
        nodes = tuple(kept.get(n, NodeSeen(n)) for n in names)
        here = str(cluster.get("node") or "")
        self._publish(replace(self.snapshot, here=here, cluster=cluster, nodes=nodes, error=None))
        for name in self._loops.keys() - set(names):
            self._loops.pop(name).cancel()
        for name in set(names) - self._loops.keys():
            self._loops[name] = asyncio.create_task(self._follow(name))

    async def _follow(self, name: str) -> None:
        while True:
            begun = time.monotonic()
            await self._look_at(name)
            often = name == self.snapshot.here or self._is_watched()
            every_s = WATCHED_EVERY_S if often else UNWATCHED_EVERY_S
            while (left_s := begun + every_s - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, WATCHED_EVERY_S))
                if self._is_watched():
                    every_s = WATCHED_EVERY_S

    async def _look_at(self, name: str) -> None:
        before = self.snapshot.node(name) or NodeSeen(name)
        try:
            state = await self._asked(name, "state")
            cluster = await self._asked(name, "cluster_state")
            log = await self._asked(name, "log", since=self._since.get(name, 0), limit=300)
        except TwofoldError as e:
            self._put(replace(before, reachable=False, error=error_of(e), modules=()))
            return
        now = time.time()
        modules = tuple(state["modules"])
        self._take_entries(name, log.get("entries", []))
        self.history.add(name, modules, now)
        self._put(NodeSeen(name, True, None, modules, cluster, now))

    async def _asked(self, name: str, command: str, **fields: Any) -> Object:
        """One node's answer; its refusal is raised."""
        answers = await self._link.ask_nodes([name], command, timeout_s=NODE_TIMEOUT_S, **fields)
        answer = answers[0]
        if "error" in answer:
            error = answer["error"]
            raise TwofoldError(str(error.get("text", "")), str(error.get("mend", "")))
        return answer

    def _take_entries(self, node: str, entries: list[Object]) -> None:
        # Two looks at once may bring the same ones.
        entries = [e for e in entries if int(e["id"]) > self._since.get(node, 0)]
        if not entries:
            return
        self._since[node] = int(entries[-1]["id"])
        merged = [*self.entries, *({**e, "node": node} for e in entries)]
        merged.sort(key=lambda e: float(e["at"]))
        self.entries = deque(merged[-ENTRIES_MAX:], maxlen=ENTRIES_MAX)
        self.entries_version += 1

    def _put(self, seen: NodeSeen) -> None:
        nodes = tuple(seen if n.node == seen.node else n for n in self.snapshot.nodes)
        self._publish(replace(self.snapshot, nodes=nodes))

    def _publish(self, new: Snapshot) -> None:
        before = self.snapshot
        self.snapshot = replace(new, at=time.time())
        if _essence(before) != _essence(new):
            self.version += 1
            self._changed.set()
            self._changed = asyncio.Event()


def _essence(snapshot: Snapshot) -> tuple[object, ...]:
    """Without what changes at every look."""
    nodes = [(n.node, n.reachable, n.error, [_still(m) for m in n.modules]) for n in snapshot.nodes]
    cluster = {k: v for k, v in snapshot.cluster.items() if k != "certificate_days"}
    return (snapshot.here, cluster, snapshot.error, nodes)


def _still(module: Object) -> Object:
    traffic: Object = module.get("traffic") or {}
    quiet = {k: v for k, v in traffic.items() if k not in ("link_silent_ms", "pending_operations")}
    return {**{k: v for k, v in module.items() if k != "since_s"}, "traffic": quiet}


def error_of(error: TwofoldError) -> Object:
    return {"code": error.code, "text": error.sentence or str(error), "mend": error.mend}
