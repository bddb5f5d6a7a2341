"""The commands of the control plane in the simulated engine, as `crates/mirror-fs/src/roles.rs`.

One change of role at a time; a hand-over takes as long as the other side takes to acknowledge. What
a command makes true is on disk before it takes effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.sim import generations
from tests.sim.engine import Engine, Waiting
from tests.sim.follower import Follower
from twofold.errors import MirrorRefused, TwofoldError

if TYPE_CHECKING:
    from tests.sim.host import Host

DRAIN_S = 20.0
Done = Callable[[TwofoldError | None], None]


class SimEngine(Engine):
    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._roles_queue: deque[Callable[[], None]] = deque()
        self._roles_busy = False
        self.unsure = False  # the other may not have what was under way at the last hand-over

    def command(self, name: str, done: Done, **fields: Any) -> None:
        def begin() -> None:
            self._roles_busy = True
            try:
                getattr(self, f"_{name}")(finish, **fields)
            except TwofoldError as e:
                finish(e)

        def finish(error: TwofoldError | None) -> None:
            self._roles_busy = False
            self.touch()
            done(error)
            if self._roles_queue and not self._roles_busy:
                self._roles_queue.popleft()()

        if self._roles_busy and name != "abort":
            self._roles_queue.append(begin)
        else:
            begin()

    def _check_epoch(self, epoch: int) -> None:
        seen = self.generation.epoch
        if epoch < seen and self.world.plant != "stale epoch accepted":
            raise MirrorRefused("stale_epoch", f"epoch {epoch} is over, {seen} has begun")

    def _become_primary(
        self, done: Done, epoch: int, alone: bool, first: bool, force: bool
    ) -> None:
        self._check_epoch(epoch)
        if self.role == "primary":
            self.change(epoch=epoch)
            if alone and self.gate == "frozen":
                self._go_on_alone(epoch)
            done(None)
            return
        self._may_be_primary(alone, first, force)
        self.stop_following()
        try:
            self._begin_as_primary(epoch, alone, first, force)
        except TwofoldError:
            if self.role == "secondary":
                self.follower = Follower(self)  # it goes on knocking
            raise
        done(None)

    def _begin_as_primary(self, epoch: int, alone: bool, first: bool, force: bool) -> None:
        before = self.generation
        forced = force and not generations.up_to_date(before)
        g = before
        if before.blank:
            g = generations.first(generations.fresh_number(), epoch)
        elif forced:
            g = generations.fork(g, generations.fresh_number())
        sole = alone or (before.blank and first)
        self.record(
            replace(
                g,
                epoch=epoch,
                role="primary",
                clean=False,
                sole=sole,
                outdated=False,
                sync_target=False,
            )
        )
        self.trusted = self.trusted or before.blank or forced
        self.role, self.session, self.full = "primary", 0, False
        if alone or before.blank:
            self.fork_due = generations.must_fork(before) and not before.blank and not forced
            self.gate = "open"
            self.detach()
        else:
            self.fork_due = False
            self.gate = "frozen"
            self.phase = "lost"
            self.fresh_window()
        self.peer_up_to_date = False
        self.release_parked()

    def _may_be_primary(self, alone: bool, first: bool, force: bool) -> None:
        g = self.generation
        if g.blank and not first and not force:
            raise MirrorRefused("no_data", "this node has no data of this module yet")
        if not g.blank and not generations.up_to_date(g) and not force:
            raise MirrorRefused("not_up_to_date", "this copy is older or not whole")
        unheard = alone and self.role == "none" and not g.sole and not g.blank
        if unheard and not force and not first:
            raise MirrorRefused("not_up_to_date", "the other node may have newer data")

    def _become_secondary(self, done: Done, epoch: int, follow: bool) -> None:
        self._check_epoch(epoch)

        def handed(error: TwofoldError | None) -> None:
            if error is None:
                try:
                    role = self.generation.role if self.unsure else "secondary"
                    self.change(epoch=epoch, role=role, clean=False)
                    self._be_secondary(follow)
                except TwofoldError as e:
                    error = e
            done(error)

        if self.role == "secondary":
            self.change(epoch=epoch)
            if follow and self.follower is None:
                self.follower = Follower(self)
            done(None)
        elif self.role == "primary":
            self._hand_over(epoch, handed)
        else:
            handed(None)

    def _be_secondary(self, follow: bool) -> None:
        self.role, self.gate = "secondary", "refused"
        self.session, self.fork_due = 0, False
        self.parked.clear()
        self.follower = Follower(self) if follow else None

    def _hand_over(self, epoch: int, done: Done) -> None:
        if self.gate == "open":
            self.gate = "frozen"
        attached = self.session != 0 and self.full and self.phase == "attached"

        def settled() -> None:
            self.resync = 0
            unsure = self.unsure = self.full and len(self.window) > 0
            writes = [w.write for _, w in self.window if w.write is not None]
            self.detach(answer=False)
            if unsure:
                self.trusted = False
            else:
                for write in writes:
                    self.answer(write)
            self.link_up = self.peer_up_to_date = False
            if attached:
                self.trusted = True
                self.record(generations.shared(self.generation))
            done(None)

        if not attached:
            settled()
            return
        asked = self.put(Waiting(None, "handover", wake=lambda: None))

        def look(waited_s: float) -> None:
            acknowledged = all(number != asked for number, _ in self.window)
            if acknowledged and self.phase == "attached":
                guarded()
            elif self.phase != "attached" or waited_s >= DRAIN_S:
                self.gate = "frozen"
                done(MirrorRefused("link_lost", "the secondary was lost before it had all"))
            else:
                self.world.clockwork.after(0.05, self, look, waited_s + 0.05)

        def guarded() -> None:
            try:
                settled()
            except TwofoldError as e:
                done(e)

        self.world.clockwork.after(0.003, self, look, 0.003)

    def _continue_alone(self, done: Done, epoch: int) -> None:
        self._check_epoch(epoch)
        if self.role != "primary":
            raise MirrorRefused("not_primary", "only a primary can go on alone")
        self._go_on_alone(epoch)
        done(None)

    def _go_on_alone(self, epoch: int) -> None:
        self.lose()
        must_fork = generations.must_fork(self.generation)
        forks = must_fork and bool(self.window or self.parked)
        g = self.generation
        if forks and self.world.plant != "generation not written before release":
            g = generations.fork(g, generations.fresh_number())
        self.record(replace(g, epoch=epoch, sole=True))
        self.fork_due = must_fork and not forks
        if self.world.plant == "generation not written before release":
            self.fork_due = False
        self.session, self.full, self.gate = 0, False, "open"
        self.resync = 0
        self.detach()
        self.release_parked()
        self.link_up = self.peer_up_to_date = False

    def _outdate(self, done: Done, epoch: int, alone: int) -> None:
        if self.welcomed >= alone:
            done(None)
            return
        self._check_epoch(epoch)
        if self.role == "primary":
            raise MirrorRefused("is_primary", "this node is primary itself")
        self.change(epoch=epoch, outdated=True, sole=False)
        done(None)

    def _stop(self, done: Done) -> None:
        """Unmounts, hands over, leaves a clean copy, ends."""
        if self.host.app.running:
            raise MirrorRefused("busy", "files are still open")
        role = self.role
        followed = self.session != 0 and self.full and self.phase == "attached"

        def ended(error: TwofoldError | None) -> None:
            outdated = followed and error is None if role == "primary" else False
            if error is not None:
                self.trusted = False
            if role == "secondary":
                outdated = self.link_up
                self.stop_following()
            try:
                self.host.disk.synced = len(self.host.disk.writes)
                g = self.generation
                clean = self.trusted and not g.sync_target
                marked = g.outdated or (outdated and not g.blank)
                sole = g.sole and not outdated
                self.record(replace(g, clean=clean, outdated=marked, sole=sole))
            except TwofoldError as e:
                done(e)
                return
            done(None)
            self.world.end_engine(self.host, "stopped")

        if role == "primary":
            self._hand_over(self.generation.epoch, ended)
        else:
            ended(None)

    def _abort(self, done: Done) -> None:
        self.lose()
        self.parked.clear()
        self.detach(answer=False)
        self.stop_following()
        self.resync = 0
        done(None)
        self.world.end_engine(self.host, "aborted")

    def stop_following(self) -> None:
        if self.follower is not None:
            self.follower.stop()
            self.follower = None
