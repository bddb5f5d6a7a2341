"""What must be true: the promises, checked at each step against what really happened.

The ledger sees both machines at once, as nobody in the product can. A write is *solo* when it was
acknowledged with one copy only. A write may be lost when a person said so (`prim --yes`), when it
was not synced and the power failed where it was, or when it is solo and two lone machines could not
know of each other (no witness, and every way between them cut).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twofold.machine.model import SERVING, Readiness, readiness

if TYPE_CHECKING:
    from tests.sim.engine import Write
    from tests.sim.host import Host
    from tests.sim.world import SimWorld


class Broken(AssertionError):
    """A promise was broken."""


@dataclass
class Entry:
    number: int
    node: str
    epoch: int
    at_s: float
    synced: bool
    solo: bool


class Ledger:
    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self.writes: dict[int, Entry] = {}
        self.excused: set[int] = set()
        self.epoch_of: dict[int, str] = {}
        self.last_epoch = {"a": 0, "b": 0}
        self.split = False
        self.forced = False
        self.in_split: set[str] = set()  # who acknowledged something since
        self.alarms: list[str] = []

    # --- what happens ---------------------------------------------------------------------------

    def acknowledged(self, host: Host, write: Write) -> None:
        """The application at `host` is told that the write is done."""
        if not host.app.running:
            return  # nobody is there to hear it
        other = self.world.other(host)
        number, epoch = write.number, host.disk.generation.epoch
        if number not in host.disk.writes:
            raise Broken(f"write {number} is acknowledged on {host.name}, which has not got it")
        solo = number not in other.disk.writes
        self.writes[number] = Entry(
            number, host.name, epoch, self.world.clockwork.now_s, write.sync, solo
        )
        if not solo and epoch < self.last_epoch[other.name]:
            return  # the late answer to what both have had since before that epoch ended
        self._one_epoch_one_node(host, other, epoch)
        if self.split or self.forced:
            self.excused.add(number)
            self.in_split.add(host.name)
        self.nothing_is_missing(host, f"acknowledges write {number}")

    def _one_epoch_one_node(self, host: Host, other: Host, epoch: int) -> None:
        owner = self.epoch_of.setdefault(epoch, host.name)
        over = epoch < self.last_epoch[other.name]
        if owner != host.name or over:
            self.two_served(f"{host.name} acknowledges in epoch {epoch}, which {other.name} served")
        self.last_epoch[host.name] = max(self.last_epoch[host.name], epoch)

    def started(self, host: Host) -> None:
        """The application begins to run at `host`."""
        other = self.world.other(host)
        if other.power and other.app.running:
            what = f"the application starts on {host.name} and runs on {other.name}"
            engine = other.engine
            if self._open(other):
                self.two_served(what)
            elif engine is not None and engine.alive and not self._out_of_touch(other):
                raise Broken(what)
        self.nothing_is_missing(host, "starts the application")

    def two_served(self, what: str) -> None:
        """Two nodes served: never with arbitration, nor while they could hear each other."""
        if not self._excusable() and not self.forced:
            raise Broken(what)
        if not self.split:
            self.split = True
            self.world.clockwork.write(f"   (split: {what})")
            self.excused |= {e.number for e in self.writes.values() if e.solo}

    def _out_of_touch(self, host: Host) -> bool:
        """It may not know yet that it serves no more; its engine takes nothing meanwhile."""
        return self.world.may_be_cut or self.world.may_stall or host.app.stuck

    def _excusable(self) -> bool:
        """Two lone machines cannot know better than their networks and clocks let them."""
        return self.world.arbitration != "witness" and (
            self.world.may_be_cut or self.world.may_stall
        )

    def nothing_is_missing(self, host: Host, doing: str) -> None:
        """Whoever serves has every write that was ever acknowledged."""
        have = set(host.disk.writes)
        for number, entry in self.writes.items():
            if number in have or number in self.excused:
                continue
            if not self._may_be_missing(entry):
                raise Broken(
                    f"{host.name} {doing} without write {number}, acknowledged by {entry.node} in "
                    f"epoch {entry.epoch} at {entry.at_s:.3f}"
                    f"{', on one copy only' if entry.solo else ''}"
                )
            self.excused.add(number)

    def _may_be_missing(self, entry: Entry) -> bool:
        if self.forced:
            return True
        if entry.solo and self.world.arbitration != "witness" and self.world.may_be_cut:
            return True
        return self._power_took(entry)

    def _power_took(self, entry: Entry) -> bool:
        """Not synced, and a crash cut every copy short: power, or the engine."""
        if entry.synced:
            return False
        after = [c for c in self.world.copies_cut if c.at_s >= entry.at_s - 3.0]
        if any(c.sole for c in after):
            return True  # who serves alone is a lone server, as far as the last seconds go
        return ({entry.node} if entry.solo else {"a", "b"}) <= {c.node for c in after}

    def overwritten(self, host: Host, snapshot: tuple[int, ...]) -> None:
        """A resync ends: what only `host` had is gone."""
        gone = set(host.disk.writes) - set(snapshot)
        for number in gone & set(self.writes):
            entry = self.writes[number]
            if number not in self.excused and not self._may_be_missing(entry):
                raise Broken(f"write {number}, acknowledged by {entry.node}, is overwritten")

    # --- each step ------------------------------------------------------------------------------

    def look(self) -> None:
        """Cheap enough for every step."""
        a, b = self.world.hosts["a"], self.world.hosts["b"]
        if a.power and b.power and self._open(a) and self._open(b):
            self.two_served("both engines take writes")

    def _open(self, host: Host) -> bool:
        engine = host.engine
        if engine is None or not engine.alive or engine.stopped:
            return False
        alone = engine.gate == "open" and engine.phase == "detached"
        return engine.role == "primary" and alone and host.app.running

    # --- at the end -----------------------------------------------------------------------------

    def a_split_was_told(self) -> None:
        """When both took writes. (Who served, wrote nothing and was stopped leaves no trace.)"""
        words = ("both nodes served", "both nodes went on alone", "so they give way")
        both = len(self.in_split) == 2 and not self.forced
        if self.split and both and not any(w in alarm for alarm in self.alarms for w in words):
            raise Broken("two nodes served, and nobody was told")

    def whole_pair(self) -> None:
        """One serves, the other follows with the same data and knows that it may take over, and
        nothing is left over.
        """
        hosts = self.world.hosts.values()
        states = sorted(h.daemon.view.state.value if h.daemon else "off" for h in hosts)
        ready = all(h.daemon and readiness(h.daemon.view) is Readiness.READY for h in hosts)
        if states != ["PRIM", "SECOND"] or not ready:
            raise Broken(f"the pair is not whole: {self.world.picture()}")
        a, b = hosts
        if a.disk.writes != b.disk.writes:
            raise Broken(f"the copies differ: {a.disk.writes} and {b.disk.writes}")
        for host in hosts:
            assert host.daemon is not None
            serving = host.daemon.view.state in SERVING
            if host.address != serving or host.app.running != serving:
                raise Broken(f"something is left over: {self.world.picture()}")
