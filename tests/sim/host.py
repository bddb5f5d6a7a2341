"""One simulated machine: power, clock, disk, and the three processes that live on it.

What is written to the directory stays in the page cache until it is synced: a power cut may take it
away. The generation record and `state.json` are synced when they are written, as the product does
it. `tick` stands at every point where a crash makes a difference; a doomed process dies there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.clockwork import Process
from tests.sim.starvation import Starvation
from twofold.machine.model import Generation

if TYPE_CHECKING:
    from tests.sim.daemon import SimDaemon
    from tests.sim.roles import SimEngine
    from tests.sim.world import SimWorld


class Doomed(Exception):
    """This process, or the whole machine, ends here."""

    def __init__(self, host: Host, what: str) -> None:
        self.host, self.what = host, what


@dataclass
class Disk:
    generation: Generation = field(default_factory=Generation)
    memory: bytes | None = None  # state.json
    writes: list[int] = field(default_factory=lambda: list[int]())
    synced: int = 0  # so many of the writes are surely on the platter
    failing: bool = False


@dataclass
class Application:
    running: bool = False
    stuck: bool = False  # cannot be stopped: a process in uninterruptible sleep
    stop_errs: bool = False  # its stop script reports a failure, though it has ended
    starts_fail: int = 0
    starts: int = 0


class Host:
    def __init__(self, world: SimWorld, name: str) -> None:
        self.world = world
        self.name = name
        self.power = True
        self.disk = Disk()
        self.app = Application()
        self.address = False
        self.engine: SimEngine | None = None
        self.daemon: SimDaemon | None = None
        self.clock_rate = 1.0
        self.clock_offset_s = 100.0
        self.clock_read_s = 0.0  # the last that was read: it never goes back
        self.wall_offset_s = 1e9
        self.incarnation = 0
        self.engine_broken = False
        self.unwell = False  # what the checker of `waits_for` asks does not answer
        self.doom: tuple[str, int] | None = None
        self.starvation: Starvation | None = None

    def lag_s(self) -> float:
        """How late the daemon comes round to what is new, since others use the processors."""
        return self.starvation.lag_s(self.world.clockwork.now_s) if self.starvation else 0.0

    def clock_s(self) -> float:
        """This machine's monotonic clock: it drifts, and a pause may leave it out."""
        now_s = self.clock_offset_s + self.world.clockwork.now_s * self.clock_rate
        self.clock_read_s = max(self.clock_read_s, now_s)
        return now_s

    def leave_out(self, seconds: float) -> None:
        """The clock stood still that long; what somebody has read of it meanwhile stays true."""
        self.clock_offset_s -= seconds * self.clock_rate
        now_s = self.clock_offset_s + self.world.clockwork.now_s * self.clock_rate
        self.clock_offset_s += max(0.0, self.clock_read_s - now_s)

    def wall_s(self) -> float:
        """This machine's calendar: somebody, or a time server, may set it."""
        return self.wall_offset_s + self.world.clockwork.now_s

    def tick(self, what: str) -> None:
        """A point at which `what` (or the power) may end."""
        if self.doom is None:
            return
        kind, left = self.doom
        if kind not in (what, "power"):
            return
        if left > 0:
            self.doom = (kind, left - 1)
            return
        self.doom = None
        raise Doomed(self, kind)

    def processes(self) -> list[Process]:
        return [p for p in (self.daemon, self.engine) if p is not None and p.alive]

    def lose_unsynced(self) -> list[int]:
        """A power cut: what the page cache had is gone, all of it or the end of it."""
        disk = self.disk
        kept = self.world.clockwork.dice.randint(disk.synced, len(disk.writes))
        lost = disk.writes[kept:]
        del disk.writes[kept:]
        disk.synced = len(disk.writes)
        return lost
