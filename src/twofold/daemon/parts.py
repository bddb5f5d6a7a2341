"""The parts of one module on this node, and how an action of the machine is done with them.

Here a decision's word becomes a call: nothing is decided, everything is awaited, and what fails is
an error whose text the journal shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twofold.config.schema_checkers import Checker
from twofold.errors import MirrorFailed
from twofold.machine.actions import (
    Action,
    AnnounceAddress,
    AskRelation,
    BecomePrimary,
    BecomeSecondary,
    ClaimEpoch,
    ContinueAlone,
    EnsureEngine,
    HoldAddress,
    Outdate,
    ReleaseAddress,
    StartApplication,
    StopApplication,
    StopEngine,
)
from twofold.machine.arbitration import first_epoch, term_of
from twofold.machine.events import ClaimAnswered
from twofold.machine.model import Generation, Relation
from twofold.ports import (
    AddressPort,
    ApplicationPort,
    ArbiterPort,
    CheckerPort,
    MirrorPort,
    RescuePort,
)
from twofold.wire.heartbeat import generation_fields
from twofold.wire.mirror import relation_of


class EnginePort(MirrorPort, Protocol):
    """What the daemon needs of the engine process beyond asking it."""

    async def find(self) -> Mapping[str, Any] | None: ...

    async def stop(self, abort: bool) -> None: ...


@dataclass(frozen=True)
class Watched:
    """One checker and what its configuration says about it."""

    port: CheckerPort
    interval_s: float
    failures: int
    action: str
    service: str | None  # of a process checker
    kind: str = ""
    successes: int = 1
    side: str = "primary"  # primary, second or both: where it is asked


def watched(checker: Checker, port: CheckerPort) -> Watched:
    return Watched(
        port,
        checker.interval_s,
        checker.failures,
        checker.action,
        checker.service if checker.kind == "process" else None,
        checker.kind,
        checker.successes,
        checker.side,
    )


@dataclass(frozen=True)
class Parts:
    engine: EnginePort
    application: ApplicationPort
    address: AddressPort
    checkers: tuple[Watched, ...] = ()
    close: Callable[[], Awaitable[None]] | None = None  # the daemon lets go; all of it runs on
    arbiter: ArbiterPort | None = None  # None: arbitration = "none"
    rescues: RescuePort | None = None


@dataclass(frozen=True)
class Told:
    """What comes back from an action besides its end."""

    status: Callable[[Mapping[str, Any]], None]
    relation: Callable[[Relation], None]
    ruling: Callable[[ClaimAnswered], None]


async def perform(parts: Parts, action: Action, theirs: Generation | None, told: Told) -> None:
    """Does it, or raises a `TwofoldError`. Every port bounds its own waits."""
    engine = parts.engine
    match action:
        case EnsureEngine():
            await engine.ensure_running()
            await _refresh(engine, told)
        case BecomePrimary(alone=alone, force=force, first=first, epoch=epoch):
            await engine.command(
                "become_primary", epoch=epoch, alone=alone, first=first, force=force
            )
            await _refresh(engine, told)
        case BecomeSecondary(epoch=epoch, follow=follow):
            await engine.command("become_secondary", epoch=epoch, follow=follow)
            await _refresh(engine, told)
        case ContinueAlone(epoch=epoch):
            await engine.command("continue_alone", epoch=epoch)
            await _refresh(engine, told)
        case Outdate(epoch=epoch, alone=alone):
            await engine.command("outdate", epoch=epoch, alone=alone)
            await _refresh(engine, told)
        case ClaimEpoch(epoch=epoch, again=again, bound_s=bound_s):
            told.ruling(await _claim(parts.arbiter, epoch, again, bound_s))
        case StopEngine(abort=abort):
            await engine.stop(abort)
        case AskRelation():
            if theirs is None:
                raise MirrorFailed("the other node's generation is not known any more")
            reply = await engine.command("reconcile", theirs=generation_fields(theirs))
            told.relation(relation_of(reply))
        case HoldAddress():
            await parts.address.hold()
        case ReleaseAddress():
            await parts.address.release()
        case AnnounceAddress():
            await parts.address.announce()
        case StartApplication(side=side):
            await parts.application.start(side)
        case StopApplication(side=side):
            await parts.application.stop(side)


async def _claim(
    arbiter: ArbiterPort | None, epoch: int, again: bool, bound_s: float
) -> ClaimAnswered:
    if arbiter is None:
        return ClaimAnswered(epoch, None, text="no witness is configured")
    said = await arbiter.claim(term_of(epoch), again, bound_s)
    return ClaimAnswered(epoch, said.won, said.holder, first_epoch(said.term), said.text)


async def _refresh(engine: EnginePort, told: Told) -> None:
    """The machine sees the effect before it hears that the job is done."""
    reply = await engine.command("status")
    told.status(reply["status"])
