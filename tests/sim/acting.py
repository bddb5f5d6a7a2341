"""How an action of the machine is done in the simulated world: with a beginning, a wait, an end.

As `daemon/parts.py` does it with the real ports. An engine command takes effect in the engine, when
that is not stopped; the answer finds the daemon that asked, if it still lives. `begin` never calls
back before it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim import generations
from twofold.errors import MirrorFailed, MirrorRefused, StartFailed, StopFailed, TwofoldError
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
from twofold.machine.events import RelationKnown
from twofold.machine.model import Relation

if TYPE_CHECKING:
    from tests.sim.host import Host

Done = Callable[[TwofoldError | None], None]

COMMAND_BOUND_S = 30.0
STOP_BOUND_S = 45.0
FROZEN_STOP_S = 6.0  # an application's stop_timeout


def begin(host: Host, action: Action, done: Done) -> None:
    match action:
        case EnsureEngine():
            _ensure_engine(host, done)
        case BecomePrimary(alone=alone, force=force, first=first, epoch=epoch):
            fields = {"epoch": epoch, "alone": alone, "first": first, "force": force}
            _command(host, "become_primary", done, **fields)
        case BecomeSecondary(epoch=epoch, follow=follow):
            _command(host, "become_secondary", done, epoch=epoch, follow=follow)
        case ContinueAlone(epoch=epoch):
            _command(host, "continue_alone", done, epoch=epoch)
        case ClaimEpoch(epoch=epoch, bound_s=bound_s):
            host.world.arbiter.ask(host, epoch, bound_s)
        case Outdate(epoch=epoch, alone=alone):
            _command(host, "outdate", done, epoch=epoch, alone=alone)
        case StopEngine(abort=abort):
            _stop_engine(host, abort, done)
        case AskRelation():
            _ask_relation(host, done)
        case HoldAddress():
            _hold(host, done)
        case ReleaseAddress():
            _release(host, done)
        case StartApplication(side=side):
            _start(host, side, done)
        case StopApplication(side=side):
            _stop(host, side, done)
        case AnnounceAddress():
            _later(host, 0.005, done)


def _later(host: Host, delay_s: float, done: Done, error: TwofoldError | None = None) -> None:
    host.world.clockwork.after(delay_s, host.daemon, done, error)


def _command(host: Host, name: str, done: Done, bound_s: float = COMMAND_BOUND_S, **f: Any) -> None:
    """The engine does it when it can; its answer comes, or the bound is over."""
    engine, daemon, clockwork = host.engine, host.daemon, host.world.clockwork
    if engine is None or not engine.alive:
        _later(host, 0.001, done, MirrorFailed("the engine is not running"))
        return
    over = False

    def once(error: TwofoldError | None) -> None:
        nonlocal over
        if not over:
            over = True
            # The machine sees the effect before it hears that the job is done.
            if daemon is not None and host.engine is engine and engine.alive:
                daemon.hear_status(engine.status())
            done(error)

    def answered(error: TwofoldError | None) -> None:
        clockwork.after(0.001, daemon, once, error)

    def command() -> None:
        engine.command(name, answered, **f)

    def gone() -> None:
        if not over and not engine.alive:
            once(None if name in ("stop", "abort") else MirrorFailed("the engine is not running"))

    engine_gone = host.world.engine_gone.setdefault(id(engine), [])
    engine_gone.append(lambda: clockwork.after(0.002, daemon, gone))
    late = MirrorFailed(f"the engine did not end {name!r} within {bound_s:g} s")
    clockwork.after(0.001, engine, command)
    clockwork.after(bound_s, daemon, once, late)


def _ensure_engine(host: Host, done: Done) -> None:
    world, daemon = host.world, host.daemon

    def found() -> None:
        if host.engine_broken or host.disk.failing:
            done(MirrorFailed("the directory /srv/files cannot be read"))
            return
        if host.engine is None or not host.engine.alive:
            world.start_engine(host)
        assert host.engine is not None and daemon is not None
        daemon.hear_status(host.engine.status())
        done(None)

    running = host.engine is not None and host.engine.alive
    delay_s = 0.002 if running else world.clockwork.between(0.1, 0.6)
    world.clockwork.after(delay_s, daemon, found)


def _stop_engine(host: Host, abort: bool, done: Done) -> None:
    engine = host.engine
    if engine is None or not engine.alive:
        _later(host, 0.001, done)
        return

    def ended(error: TwofoldError | None) -> None:
        if error is not None and abort and engine.alive:
            host.world.end_engine(host, "killed")  # SIGKILL also ends what is stopped
            error = None
        done(error)

    _command(host, "abort" if abort else "stop", ended, bound_s=STOP_BOUND_S)


def _ask_relation(host: Host, done: Done) -> None:
    daemon, engine = host.daemon, host.engine
    assert daemon is not None
    theirs = daemon.view.peer.generation if daemon.view.peer else None
    if theirs is None or engine is None or not engine.alive:
        _later(host, 0.001, done, MirrorFailed("there is nothing to compare with"))
        return

    def compared() -> None:
        if engine.alive and not engine.stopped:
            relation = generations.compare(engine.generation, theirs)
            daemon.told(RelationKnown(Relation(relation)))
            done(None)
        else:
            done(MirrorFailed("the engine is not running"))

    host.world.clockwork.after(0.003, daemon, compared)


def _hold(host: Host, done: Done) -> None:
    daemon = host.daemon
    assert daemon is not None
    number = daemon.job_number

    def held() -> None:
        if daemon.job_number != number:
            return  # a release came in between: nothing is added after it
        host.address = True
        done(None)

    clockwork = host.world.clockwork
    clockwork.after(0.002 if host.address else clockwork.between(0.2, 0.6), host.daemon, held)


def _release(host: Host, done: Done) -> None:
    def released() -> None:
        host.address = host.address and host.world.plant == "address not released"
        done(None)

    host.world.clockwork.after(0.003, host.daemon, released)


def _start(host: Host, side: str, done: Done) -> None:
    """The process is there at once, and ready some time later."""
    app, clockwork = host.app, host.world.clockwork
    if side != "primary":
        _later(host, 0.01, done)
        return
    daemon = host.daemon
    assert daemon is not None
    number = daemon.job_number

    def spawned() -> None:
        if daemon.job_number != number:
            return  # cancelled: what was begun is ended before the next job begins
        host.tick("daemon")
        if app.starts_fail > 0:
            app.starts_fail -= 1
            _later(host, clockwork.between(0.1, 1.0), done, StartFailed("it ended with code 1"))
            return
        if not app.running:
            app.running = True
            app.starts += 1
            host.world.ledger.started(host)
        _later(host, clockwork.between(0.05, 0.8), done)

    clockwork.after(0.01, host.daemon, spawned)


def _has_frozen_writes(host: Host) -> bool:
    """A process whose write waits in the kernel does not end, not even by SIGKILL."""
    engine = host.engine
    return engine is not None and engine.alive and engine.gate == "frozen"


def _stop(host: Host, side: str, done: Done) -> None:
    app = host.app
    if side != "primary" or not app.running:
        _later(host, 0.01, done)
        return

    daemon = host.daemon
    assert daemon is not None
    number = daemon.job_number

    def ended(waited_s: float = 0.0) -> None:
        if daemon.job_number != number:
            host.world.application_ends(host)  # the signal was sent already
            return
        if host.world.writes_hold_applications and _has_frozen_writes(host):
            if waited_s >= FROZEN_STOP_S:
                done(StopFailed("process 77 waits for the disk"))
            else:
                more_s = host.world.clockwork.between(0.05, 0.6)
                host.world.clockwork.after(more_s, host.daemon, ended, waited_s + more_s)
            return
        if app.stuck:
            done(StopFailed("process 77 survived SIGKILL"))
            return
        app.running = host.world.plant == "application not stopped"
        done(StopFailed("the stop script ended with code 1") if app.stop_errs else None)

    host.world.clockwork.after(host.world.clockwork.between(0.02, 0.6), host.daemon, ended)


__all__ = ["MirrorRefused", "begin"]
