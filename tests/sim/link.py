"""A connection between two engines: ordered, reliable, and silent when a way is cut.

An end that hears nothing for the timeout gives up, an end whose process dies says so if it can.
Bytes that were on their way when a network was cut arrive when it heals, unless an end has given
up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim.clockwork import Call

if TYPE_CHECKING:
    from tests.sim.engine import Engine
    from tests.sim.world import SimWorld

SILENT_S = 3.0


class Conn:
    """`ends[name]` is the engine of that host; `open[name]`: it has not given up."""

    def __init__(self, world: SimWorld, net: str, one: Engine, other: Engine) -> None:
        self.world = world
        self.net = net
        self.ends = {one.host.name: one, other.host.name: other}
        self.open = dict.fromkeys(self.ends, True)
        self._blocked: dict[str, float | None] = dict.fromkeys(self.ends)
        self._queue: dict[str, deque[tuple[Call, tuple[Any, ...]]]] = {
            n: deque() for n in self.ends
        }
        self._stalled = dict.fromkeys(self.ends, 0)  # arrivals that met a cut
        self.on_end: dict[str, Callable[[Conn, str], None]] = {}
        world.conns.append(self)

    def send(self, source: str, call: Call, *args: Any) -> None:
        """Something from the end at `source`, to be done at the other end."""
        if self.open[source]:
            self._travel(source, call, args)

    def _travel(self, source: str, call: Call, args: tuple[Any, ...]) -> None:
        self._queue[source].append((call, args))
        if self._is_blocked(source) or self._stalled[source]:
            self._stalled[source] += 1
        else:
            self._transmit(source)

    def _transmit(self, source: str) -> None:
        """Whatever is first in the queue arrives some time later."""
        world = self.world
        delay_s = world.network.connected_delay_s(self.net, source)
        receiver = self.ends[self._other(source)]
        world.clockwork.after(delay_s, receiver, self._arrive, source)

    def _arrive(self, source: str) -> None:
        if not self.world.network.up(self.net, source):
            self._stalled[source] += 1
            return
        if self._queue[source]:
            call, args = self._queue[source].popleft()
            if self.open[self._other(source)]:
                call(*args)

    def _other(self, name: str) -> str:
        return "b" if name == "a" else "a"

    def _is_blocked(self, source: str) -> bool:
        engine = self.ends[source]
        if not self.world.network.up(self.net, source) or not engine.host.power:
            return True
        return engine.stopped

    def review(self) -> None:
        """The world has changed: see which ways are silent now."""
        for source in self.ends:
            blocked = self._is_blocked(source)
            if blocked and self._blocked[source] is None:
                self._blocked[source] = self.world.clockwork.now_s
                receiver = self.ends[self._other(source)]
                since = self.world.clockwork.now_s
                self.world.clockwork.after(SILENT_S, receiver, self._silent, source, since)
            elif not blocked and self._blocked[source] is not None:
                self._blocked[source] = None
                waiting, self._stalled[source] = self._stalled[source], 0
                for _ in range(waiting):
                    self._transmit(source)
        if not any(self.open.values()):
            self.world.conns.remove(self)

    def _silent(self, source: str, since_s: float) -> None:
        if self._blocked[source] == since_s:
            name = self._other(source)
            self._end(name, "the peer was silent")
            self._travel(name, self._end, (source, "the peer closed"))

    def _end(self, name: str, why: str) -> None:
        if self.open[name]:
            self.open[name] = False
            told = self.on_end.get(name)
            if told is not None:
                told(self, why)

    def close(self, name: str) -> None:
        """The end at `name` gives up, or its process is gone; the other hears of it if it can."""
        if self.open[name]:
            self.open[name] = False
            self._travel(name, self._end, (self._other(name), "the peer closed"))

    def reset(self, name: str) -> None:
        """The machine of the end at `name` has lost this connection, and says so when asked."""
        self.open[name] = False
        self._blocked[name] = None
        self._stalled[name] = 0
        self._queue[name].clear()
        self._travel(name, self._end, (self._other(name), "the peer was started anew"))
