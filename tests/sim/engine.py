"""The replication engine of one host: gate, session, stream and record, as in the Rust engine.

It follows `crates/mirror-fs/src/{primary,outbox,engine}.rs` function by function; the decisions
about generations are the engine's own. Each change of the record is a point of crash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.sim import generations
from tests.sim.clockwork import Process
from tests.sim.follower import Follower
from tests.sim.link import Conn
from twofold.errors import MirrorRefused
from twofold.machine.model import Engine as Status
from twofold.machine.model import Generation

if TYPE_CHECKING:
    from tests.sim.host import Host


@dataclass
class Write:
    number: int
    sync: bool


@dataclass
class Waiting:
    write: Write | None
    said: str  # "write", "handover", "resync end"
    snapshot: tuple[int, ...] = ()
    generation: Generation | None = None
    wake: Callable[[], None] | None = None


class Engine(Process):
    """State, status, stream and link; what commands do is in `roles`."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.world = host.world
        self.trusted = host.disk.generation.clean
        self.role = "none"
        self.gate = "refused"  # open, frozen, refused
        self.session = 0
        self.full = False
        self.fork_due = False
        self.phase = "detached"  # attached, lost
        self.conn: Conn | None = None
        self.window: deque[tuple[int, Waiting]] = deque()
        self.next = 1
        self.acknowledged = 0
        self.parked: deque[Write] = deque()
        self.link_up = False
        self.peer_up_to_date = False
        self.failed: str | None = None
        self.follower: Follower | None = None
        self._touched = False
        self.resync = 0  # number of the resync that runs
        self.welcomed = 0  # the epoch in which a primary last let it in

    @property
    def generation(self) -> Generation:
        return self.host.disk.generation

    def record(self, changed: Generation) -> None:
        """On disk before it takes effect."""
        if changed == self.host.disk.generation:
            return
        if self.host.disk.failing:
            raise MirrorRefused("io_error", "the record cannot be written")
        if changed.epoch < self.host.disk.generation.epoch:
            self.world.broken(f"the epoch on the disk of {self.host.name} goes back")
        self.host.tick("engine")
        self.host.disk.generation = changed
        self.host.tick("engine")

    def change(self, **fields: Any) -> None:
        self.record(replace(self.generation, **fields))

    def touch(self) -> None:
        if not self._touched:
            self._touched = True
            self.world.clockwork.after(0.002, self, self._tell)

    def _tell(self) -> None:
        self._touched = False
        daemon = self.host.daemon
        if daemon is not None and daemon.alive:
            self.world.clockwork.after(0.0005, daemon, daemon.hear_status, self.status())

    def status(self) -> Status:
        g = self.generation
        return Status(
            role=self.role,
            epoch=g.epoch,
            alone=self.role == "primary" and g.sole,
            link_up=self.link_up,
            up_to_date=generations.up_to_date(g),
            trusted=self.trusted or self.world.plant == "crash forgotten",
            peer_up_to_date=self.role == "primary" and self.peer_up_to_date,
            frozen=self.gate == "frozen",
            failed=self.failed,
            welcomed_epoch=self.welcomed,
            generation=g,
        )

    # --- the way of a write ---------------------------------------------------------------------

    def submit(self, write: Write) -> None:
        if self.gate == "refused" or self.host.disk.failing:
            if self.host.disk.failing and self.gate == "open" and self.failed is None:
                self.failed = "io_error"
                self.touch()
            return
        if self.gate == "frozen":
            self.parked.append(write)
            return
        self._fork_if_due()
        disk = self.host.disk
        disk.writes.append(write.number)
        if write.sync:
            disk.synced = len(disk.writes)
        self.put(Waiting(write, "write"))

    def _fork_if_due(self) -> None:
        if self.fork_due:
            self.record(generations.fork(self.generation, generations.fresh_number()))
            self.trusted = True
            self.fork_due = False
            self.touch()

    def stand_apart(self, theirs: Generation) -> None:
        """Who gives way has what this node has not, and nothing was written here yet."""
        alone = self.role == "primary" and self.gate == "open" and self.session == 0
        newer = generations.compare(self.generation, theirs) == "theirs_newer"
        if alone and newer and theirs.epoch <= self.generation.epoch:
            self._fork_if_due()

    def put(self, waiting: Waiting) -> int:
        if self.phase == "detached":
            if waiting.write is not None:
                self.answer(waiting.write)
            return 0
        number, self.next = self.next, self.next + 1
        self.window.append((number, waiting))
        self._transmit(number, waiting)
        return number

    def _transmit(self, number: int, waiting: Waiting) -> None:
        if self.phase == "attached" and self.conn is not None:
            peer = self.world.other(self.host).engine
            if peer is None:
                return
            self.conn.send(self.host.name, peer.hear_operation, self.conn, number, waiting)

    def hear_operation(self, conn: Conn, number: int, waiting: Waiting) -> None:
        if self.follower is not None:
            self.follower.hear(conn, number, waiting)

    def answer(self, write: Write) -> None:
        self.host.tick("engine")
        self.world.ledger.acknowledged(self.host, write)

    def hear_applied(self, conn: Conn, number: int) -> None:
        if conn is not self.conn or self.phase != "attached":
            return
        self._applied(number)

    def _applied(self, number: int) -> None:
        self.acknowledged = max(self.acknowledged, number)
        while self.window and self.window[0][0] <= number:
            _, waiting = self.window.popleft()
            if waiting.write is not None:
                self.answer(waiting.write)
            if waiting.wake is not None:
                waiting.wake()

    def release_parked(self) -> None:
        for _ in range(len(self.parked)):
            if self.parked:
                self.submit(self.parked.popleft())

    # --- the link, as the primary sees it -------------------------------------------------------

    def fresh_window(self) -> None:
        self.window.clear()
        self.next, self.acknowledged = 1, 0

    def detach(self, answer: bool = True) -> None:
        writes = [w.write for _, w in self.window if w.write is not None]
        if self.conn is not None:
            self.conn.close(self.host.name)
        self.conn, self.phase = None, "detached"
        self.fresh_window()
        if answer:
            for write in writes:
                self.answer(write)

    def lose(self) -> None:
        if self.phase == "attached":
            if self.conn is not None:
                self.conn.close(self.host.name)
            self.conn, self.phase = None, "lost"

    def link_ended(self, conn: Conn, why: str) -> None:
        if conn is self.conn:
            self.give_up()

    def give_up(self) -> None:
        """Freeze what the secondary had in full, go on where it had not."""
        self.lose()
        if self.full:
            if self.world.plant == "frozen writes released":
                self.detach()
            elif self.gate == "open":
                self.gate = "frozen"
        else:
            self.session = 0
            self.resync = 0
            self.detach()
        self.link_up = self.peer_up_to_date = False
        self.touch()

    def attach(self, conn: Conn, session: int, in_sync: bool) -> None:
        # A second that may take its copy for current must have marked it before anything is served
        # that it has not got: then it has heard of this session, and says its first word.
        opening = not in_sync and self.gate == "frozen"
        if in_sync:
            self.record(generations.shared(self.generation))
        elif not opening:
            self._only_here()
        self.fork_due = False
        self.session, self.full, self.phase, self.conn = session, in_sync, "attached", conn
        self.fresh_window()
        if self.gate == "frozen" and not opening:
            self.gate = "open"
        if opening:
            self.put(Waiting(None, "opening", wake=lambda: self._marked(session)))
        self.link_up, self.peer_up_to_date, self.failed = True, in_sync, None
        if not in_sync:
            self.resync = session
            delay_s = self.world.resync_s()
            self.world.clockwork.after(delay_s, self, self._end_resync, session)
        self.release_parked()
        self.touch()

    def _only_here(self) -> None:
        g = self.generation
        if generations.must_fork(g):
            self.record(replace(generations.fork(g, generations.fresh_number()), sole=True))
        self.trusted = True

    def _marked(self, session: int) -> None:
        """The second's copy is marked as one that is not whole: only this node can serve."""
        if self.session != session or self.gate != "frozen":
            return
        if not self.full:  # else the resync has ended by then, and both have everything
            try:
                self._only_here()
            except MirrorRefused:
                self.failed = "io_error"
                self.give_up()
                return
        self.gate = "open"
        self.release_parked()
        self.touch()

    def _end_resync(self, session: int) -> None:
        if self.resync != session or self.session != session or self.phase != "attached":
            return
        if self.host.disk.failing:
            self.failed = "io_error"
            self.give_up()  # the secondary dials again, and another resync begins
            return
        self.change(sole=False)
        snapshot = tuple(self.host.disk.writes)
        if self.world.plant == "resync ends without the last write":
            snapshot = snapshot[:-1]
        self.full = True

        def adopted() -> None:
            if self.resync == session and self.session == session:
                if self.host.disk.failing:
                    self.give_up()
                    return
                self.resync = 0
                self.record(generations.shared(self.generation))
                self.peer_up_to_date = True
                self.touch()

        self.put(Waiting(None, "resync end", snapshot, self.generation, adopted))

    def resume(self, conn: Conn, applied: int) -> None:
        self.conn, self.phase = conn, "attached"
        self._applied(applied)
        for number, waiting in list(self.window):
            self._transmit(number, waiting)
        if self.gate == "frozen":
            self.gate = "open"
        self.link_up, self.peer_up_to_date = True, not self.generation.sole
        self.release_parked()
        self.touch()

    def may_resume(self, session: int, applied: int) -> bool:
        whole = session == self.session and self.trusted
        return whole and self.acknowledged <= applied < self.next
