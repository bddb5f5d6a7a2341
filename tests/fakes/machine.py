"""One machine of the world: its view, its engine, its application and what waits for it.

It carries out actions that concern nobody but itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tests.fakes.engine_model import EngineModel
from twofold.errors import MirrorRefused, StartFailed
from twofold.machine.actions import (
    Action,
    BecomePrimary,
    BecomeSecondary,
    ContinueAlone,
    EnsureEngine,
    HoldAddress,
    Outdate,
    ReleaseAddress,
    StartApplication,
    StopApplication,
    StopEngine,
)
from twofold.machine.model import Engine, Report, View


@dataclass
class Machine:
    name: str
    view: View
    engine: EngineModel
    alive: bool = True
    app: bool = False
    address: bool = False
    todo: deque[Action] = field(default_factory=lambda: deque[Action]())
    inbox: deque[Report] = field(default_factory=lambda: deque[Report]())
    said: Report = field(default_factory=Report)
    status: Engine | None = None
    starts_fail: int = 0
    answers: list[tuple[str, str]] = field(default_factory=lambda: list[tuple[str, str]]())

    def needs_engine(self) -> None:
        if not self.engine.running:
            raise MirrorRefused("gone", "the engine is gone")

    def perform(self, action: Action) -> None:
        engine = self.engine
        if isinstance(action, BecomePrimary | BecomeSecondary | ContinueAlone):
            self.needs_engine()
        match action:
            case EnsureEngine():
                engine.start()
            case BecomePrimary(alone=alone, first=first, force=force, epoch=epoch):
                engine.become_primary(epoch, alone, first, force)
            case BecomeSecondary(epoch=epoch, follow=follow):
                engine.become_secondary(epoch, follow)
            case ContinueAlone(epoch=epoch):
                engine.continue_alone(epoch)
            case Outdate(epoch=epoch, alone=alone):
                engine.outdate(epoch, alone)
            case StopEngine(abort=abort):
                if engine.running:
                    engine.stop(abort)
            case HoldAddress():
                self.address = True
            case ReleaseAddress():
                self.address = False
            case StartApplication(side="primary"):
                if self.starts_fail > 0:
                    self.starts_fail -= 1
                    raise StartFailed("service app ended with code 1")
                self.app = True
            case StopApplication(side="primary"):
                self.app = False
            case _:
                pass
