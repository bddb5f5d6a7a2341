"""Everything that can happen to a module, as a closed union.

`FACTS` are the events that only bring news: their rules look at the view, never at the event, so a
lost or doubled one changes nothing. The others ask for something or end something.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.machine.actions import Action
from twofold.machine.model import Engine, Job, Relation, Report


@dataclass(frozen=True)
class StartAsked:
    by: str = "a person"


@dataclass(frozen=True)
class StopAsked:
    by: str = "a person"
    keep_wanted: bool = False  # the machine goes down: start again at boot


@dataclass(frozen=True)
class PrimAsked:
    force: bool = False
    by: str = "a person"


@dataclass(frozen=True)
class SecondAsked:
    by: str = "a person"


@dataclass(frozen=True)
class SwapAsked:
    by: str = "a person"


@dataclass(frozen=True)
class RestartAsked:
    by: str = "a person"


@dataclass(frozen=True)
class Found:
    """The daemon has just started; this is what it found running."""

    engine: Engine | None
    application_runs: bool = False


@dataclass(frozen=True)
class PeerHeard:
    report: Report


@dataclass(frozen=True)
class EngineChanged:
    engine: Engine


@dataclass(frozen=True)
class EngineGone:
    text: str


@dataclass(frozen=True)
class RelationKnown:
    relation: Relation


@dataclass(frozen=True)
class ClaimAnswered:
    """The arbiter's ruling on `ClaimEpoch`; `won` is None when nobody could rule in time."""

    epoch: int
    won: bool | None
    holder: str = ""  # who has it, when it is lost
    holder_epoch: int = 0
    text: str = ""


@dataclass(frozen=True)
class ArbiterHeard:
    """Whether a majority of the witnesses (or a ping address) answers now."""

    heard: bool
    text: str = ""


@dataclass(frozen=True)
class TimerFired:
    """A moment named by `timers` has come."""


@dataclass(frozen=True)
class Look:
    """Something was decided: see whether more follows from it."""


@dataclass(frozen=True)
class JobDone:
    job: Job


@dataclass(frozen=True)
class JobFailed:
    job: Job
    action: Action
    reason: str
    text: str


@dataclass(frozen=True)
class AsideFailed:
    """An action that runs beside the job failed (`ContinueAlone`, `AskRelation` ...)."""

    action: Action
    reason: str
    text: str


@dataclass(frozen=True)
class ServiceExited:
    service: str
    text: str


@dataclass(frozen=True)
class CheckerTripped:
    """A checker failed as often in a row as it takes to count (see `verdicts`)."""

    checker: str
    action: str  # restart, failover, stop, wait, none
    text: str


@dataclass(frozen=True)
class CheckerWell:
    """A checker with the action wait, which failed or was not asked yet, is well."""

    checker: str


Event = (
    StartAsked
    | StopAsked
    | PrimAsked
    | SecondAsked
    | SwapAsked
    | RestartAsked
    | Found
    | PeerHeard
    | EngineChanged
    | EngineGone
    | RelationKnown
    | ClaimAnswered
    | ArbiterHeard
    | TimerFired
    | Look
    | JobDone
    | JobFailed
    | AsideFailed
    | ServiceExited
    | CheckerTripped
    | CheckerWell
)

FACTS = (
    PeerHeard,
    EngineChanged,
    EngineGone,
    RelationKnown,
    ClaimAnswered,
    ArbiterHeard,
    CheckerWell,
    TimerFired,
    Look,
)
ASKED = (StartAsked, StopAsked, PrimAsked, SecondAsked, SwapAsked, RestartAsked)
EVENTS: tuple[type, ...] = (
    *ASKED,
    Found,
    *FACTS,
    JobDone,
    JobFailed,
    AsideFailed,
    ServiceExited,
    CheckerTripped,
)
