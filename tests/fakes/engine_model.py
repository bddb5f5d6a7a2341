"""A small model of the replication engine: roles, generations, one link. No files, no time.

Both the in-memory world of the scenarios and the fake engine process stand on it. It follows
docs/internals/interfaces.md; where it is stricter than the real one, tests are stricter.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from twofold.errors import MirrorRefused
from twofold.machine.model import Engine, Generation

_counter = itertools.count(1)


def new_current(node: str) -> str:
    return f"{next(_counter):08x}{ord(node[0]):08x}"


@dataclass
class EngineModel:
    node: str
    disk: Generation = field(default_factory=Generation)
    running: bool = False
    role: str = "none"
    linked: bool = False
    peer_up_to_date: bool = False
    data: int = 0  # how many writes it has
    copied: bool = False  # this secondary's resync has ended since it was linked
    follows: bool = False  # this secondary looks for its primary
    welcomed: int = 0  # the epoch in which a primary last let it in

    @property
    def up_to_date(self) -> bool:
        """As far as this node can know by itself."""
        return not (self.disk.blank or self.disk.sync_target or self.disk.outdated)

    def start(self) -> None:
        if not self.running:
            self.running, self.role, self.linked, self.copied = True, "none", False, False
            self.welcomed = 0
            self.follows = False

    def crash(self) -> None:
        """A power cut: only the disk remains."""
        if self.running and self.role == "primary":
            self.write(clean=False)
        self.running, self.role, self.linked, self.follows = False, "none", False, False

    def write(self, **changes: object) -> None:
        values = {**self.disk.__dict__, **changes}
        self.disk = Generation(**values)  # type: ignore[arg-type]

    def fence(self, epoch: int) -> None:
        if epoch < self.disk.epoch:
            raise MirrorRefused("stale_epoch", f"epoch {epoch} is over, {self.disk.epoch} was seen")

    def become_primary(self, epoch: int, alone: bool, first: bool, force: bool) -> None:
        self.fence(epoch)
        d = self.disk
        if self.role == "primary":
            self.write(epoch=epoch)
            return
        if d.blank and not first and not force:
            raise MirrorRefused("no_data", "there is no generation yet")
        if not d.blank and not self.up_to_date and not force:
            raise MirrorRefused("not_up_to_date", "the other node has newer data")
        unheard = alone and self.role == "none" and not d.sole and not d.blank
        if unheard and not force and not first:
            raise MirrorRefused("not_up_to_date", "the other node may have newer data")
        forks = d.blank or alone or (force and not self.up_to_date)
        self.role, self.linked, self.peer_up_to_date = "primary", False, False
        self.follows = False
        self.write(
            role="primary", epoch=epoch, outdated=False, sync_target=False, clean=False, sole=alone
        )
        if forks:
            self._fork()

    def _fork(self) -> None:
        old = self.disk.current
        self.write(base=old, current=new_current(self.node), history=(old, *self.disk.history)[:8])

    def become_secondary(self, epoch: int, follow: bool = True) -> None:
        self.fence(epoch)
        if self.role == "primary" and self.linked and self.peer_up_to_date:
            self.write(sole=False, base=self.disk.current)
        self.role, self.linked, self.peer_up_to_date, self.copied = "secondary", False, False, False
        self.follows = follow
        self.write(role="secondary", epoch=epoch)

    def continue_alone(self, epoch: int) -> None:
        self.fence(epoch)
        if self.role != "primary":
            raise MirrorRefused("not_primary", "only a primary can go on alone")
        self.linked = self.peer_up_to_date = False
        self.write(epoch=epoch, sole=True)
        self._fork()

    def outdate(self, epoch: int, alone: int) -> None:
        if self.welcomed >= alone:
            return
        self.fence(epoch)
        if self.role == "primary":
            raise MirrorRefused("is_primary", "this node is primary itself")
        self.write(outdated=True, sole=False, epoch=epoch)

    def stop(self, abort: bool) -> None:
        followed = self.linked and (self.role == "secondary" or self.peer_up_to_date)
        if followed and not abort:
            self.write(outdated=not self.disk.blank, sole=False)
        self.running, self.role, self.linked, self.follows = False, "none", False, False
        self.write(clean=not abort)

    def link_down(self) -> None:
        self.linked = self.peer_up_to_date = self.copied = False

    def status(self) -> Engine:
        return Engine(
            role=self.role,
            epoch=self.disk.epoch,
            alone=self.disk.sole,
            link_up=self.linked,
            up_to_date=self.up_to_date,
            peer_up_to_date=self.peer_up_to_date,
            welcomed_epoch=self.welcomed,
            frozen=self.role == "primary" and not self.linked and not self.disk.sole,
            generation=self.disk,
        )


def relation(mine: Generation, theirs: Generation) -> str:
    if mine.blank or theirs.blank:
        both = mine.blank and theirs.blank
        return "both_blank" if both else "mine_blank" if mine.blank else "theirs_blank"
    if mine.current == theirs.current:
        return "equal"
    if theirs.current in mine.history:
        return "mine_newer"
    if mine.current in theirs.history:
        return "theirs_newer"
    common = set(mine.history) & set(theirs.history) - {"0"}
    return "diverged" if common else "unrelated"


def link(primary: EngineModel, secondary: EngineModel) -> None:
    """The secondary has found its primary: equal data is current at once, other data is not."""
    primary.linked = secondary.linked = True
    secondary.welcomed = primary.disk.epoch
    if secondary.disk.current == primary.disk.current and not secondary.disk.sync_target:
        finish_copy(primary, secondary)
    else:
        primary.peer_up_to_date = False
        secondary.write(sync_target=True)


def finish_copy(primary: EngineModel, secondary: EngineModel) -> None:
    primary.peer_up_to_date = secondary.copied = True
    secondary.data = primary.data
    primary.write(sole=False)
    secondary.disk = Generation(
        current=primary.disk.current,
        base=primary.disk.current,
        history=primary.disk.history,
        role="secondary",
        clean=False,
        epoch=max(primary.disk.epoch, secondary.disk.epoch),
    )
