"""`absorb` takes an event's news into the view; `step` picks the row and makes it a decision.

Both are pure. The driver does, for each event: `view = absorb(view, event)`, `decision =
step(view, event)`, saves `decision.view` where it must survive, and performs `decision.do`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

from twofold.errors import BrokenInvariant
from twofold.machine.actions import (
    NEEDS_MEMORY,
    Action,
    BecomePrimary,
    BecomeSecondary,
    ClaimEpoch,
    ContinueAlone,
    Outdate,
)
from twofold.machine.changed import replace
from twofold.machine.events import (
    FACTS,
    ArbiterHeard,
    AsideFailed,
    CheckerTripped,
    CheckerWell,
    ClaimAnswered,
    EngineChanged,
    EngineGone,
    Event,
    Found,
    JobDone,
    JobFailed,
    PeerHeard,
    PrimAsked,
    RelationKnown,
    ServiceExited,
)
from twofold.machine.links import peer_heard
from twofold.machine.model import SERVING, Engine, Job, Kind, Report, State, View, Wish
from twofold.machine.notes import claimed_epoch, next_epoch
from twofold.machine.rule import Answer, Rule, Severity
from twofold.machine.rules import TABLES
from twofold.machine.sentences import ARBITERS
from twofold.machine.standing import standing

LOOK_EVERY_S = 0.5
ASK_AGAIN_S = 1.0
STALLED_S = 1.5  # longer than the driver ever sleeps, by a margin for a busy machine
LISTEN_S = 1.0


Rows = Callable[[State, type], tuple[Rule, ...]]


@dataclass(frozen=True)
class Decision:
    rule: Rule
    view: View  # after the decision
    do: tuple[Action, ...]
    before: State
    seen: tuple[View, Event]  # what was decided about

    @property
    def because(self) -> str:
        """The row's sentence, with the names in it; made when somebody wants it."""
        return sentence(self.rule.because, *self.seen)

    @property
    def job(self) -> Job | None:
        return self.rule.job

    @property
    def answer(self) -> Answer | None:
        return self.rule.answer

    @property
    def changed(self) -> bool:
        """Something was decided, so more may follow: look again."""
        return bool(self.do or self.rule.sets or self.rule.ends_job) or (
            self.view.state is not self.before
        )

    @property
    def loud(self) -> bool:
        return self.rule.severity is not Severity.QUIET

    @property
    def waits_for_memory(self) -> bool:
        """A take-over that nobody asked for, while nothing can be remembered: better not begun than
        failed, or the node would lose its right to it. The next look decides it again."""
        taken = any(isinstance(action, NEEDS_MEMORY) for action in self.do)
        return taken and self.before is State.SECOND and isinstance(self.seen[1], FACTS)

    def undone(self) -> Decision:
        """Nothing was decided; what the event told is kept."""
        quiet = dataclasses.replace(
            self.rule, then=None, job=None, do=(), sets=(), ends_job=False, answer=None,
            severity=Severity.QUIET,
        )  # fmt: skip
        return dataclasses.replace(self, rule=quiet, view=self.seen[0], do=())


def absorb(view: View, event: Event, now_s: float) -> View:
    """The view with the event's news in it, and the time it came."""
    view = _wake(view, max(now_s, view.now_s))
    match event:
        case PeerHeard(report=report):
            return _hear(view, report)
        case EngineChanged(engine=engine):
            return _learn(view, engine)
        case EngineGone(text=text):
            return replace(view, engine=None, engine_gone=text, relation=None, compared=("", ""))
        case Found(engine=engine) if engine is not None:
            return _learn(view, engine)
        case RelationKnown(relation=relation):
            return replace(view, relation=relation)
        case ClaimAnswered():
            return _take_ruling(view, event)
        case AsideFailed(action=ClaimEpoch(epoch=epoch), text=text):
            return _take_ruling(view, ClaimAnswered(epoch, None, text=text))
        case CheckerTripped(checker=checker, action="wait"):
            others = tuple(name for name in view.unwell if name != checker)
            return replace(view, unwell=(*others, checker))
        case CheckerWell(checker=checker):
            return replace(view, unwell=tuple(name for name in view.unwell if name != checker))
        case ArbiterHeard(heard=heard, text=text):
            heard_s = view.now_s if heard else view.arbiter_heard_s
            return replace(view, arbiter_heard=heard, arbiter_heard_s=heard_s, arbiter_text=text)
        case _:
            if view.grants and not peer_heard(view):
                return replace(view, grants=0)  # who is lost holds no claim
            return view


def _wake(view: View, now_s: float) -> View:
    """A node that was stopped for a while (frozen, migrated) has not listened: it listens first.

    Otherwise it would take the world for silent at the moment it wakes, and go on in an epoch that
    is over; or take an offer that was withdrawn meanwhile. The driver looks at least every
    `LOOK_EVERY_S`, so a longer gap was not its choice.
    """
    gap_s = now_s - view.now_s
    view = replace(view, now_s=now_s)
    if gap_s < STALLED_S:
        return view
    earliest_s = now_s - max(0.0, view.settings.heartbeat_timeout_s - LISTEN_S)
    return replace(
        view,
        peer=view.peer and _of_the_past(view.peer),
        listens_until_s=now_s + LISTEN_S,
        peer_heard_s=max(view.peer_heard_s, earliest_s),
        link_quiet_since_s=max(view.link_quiet_since_s, earliest_s),
    )


def _of_the_past(report: Report) -> Report:
    """A report that may be long over, also one that was said while this node slept: nothing that
    the peer allowed with it holds, and what it is about to do is not known.
    """
    return replace(report, busy=True, offer=None, grants=0, leaving=False)


def _take_ruling(view: View, answer: ClaimAnswered) -> View:
    """An epoch that was won is remembered at once, used or not: the peer hears of it from now on,
    so that both know the same terms when they lose each other the next time.
    """
    if answer.epoch != view.asking:
        return view  # to an earlier question
    view = replace(
        view, asking=0, ask_again_s=view.now_s, no_ruling=False, arbiter_text=answer.text
    )
    if answer.won is None:
        return replace(view, ask_again_s=view.now_s + ASK_AGAIN_S, no_ruling=True)
    view = replace(view, no_ruling_said=False)
    if answer.won and answer.epoch <= view.spent:
        # Its own from before. The peer may count on that it is not used: the next one is asked for.
        return replace(view, claimed=max(view.claimed, answer.epoch))
    if answer.won:
        return replace(view, won=answer.epoch, won_at_s=view.now_s, claimed=answer.epoch)
    if answer.holder == view.settings.node:  # in an earlier life, and forgotten
        return replace(view, claimed=max(view.claimed, answer.holder_epoch))
    alone_epoch = view.peer_alone_epoch
    if view.state not in SERVING:  # one that serves keeps its own data, and stops serving it
        alone_epoch = max(alone_epoch, answer.holder_epoch)
    return replace(
        view,
        overruled=True,
        undecided=False,
        peer_alone_epoch=alone_epoch,
        ask_again_s=view.now_s + ASK_AGAIN_S,
    )


def _hear(view: View, report: Report) -> View:
    """Whoever hears the peer decides with it, not against it: what was won is not used any more."""
    if view.now_s < view.listens_until_s:
        report = _of_the_past(report)
    # Not `epoch`: ALONE may have begun another one since, of which nothing was written alone.
    alone_epoch = max(report.alone_epoch, report.going_alone)
    synced_epoch = report.epoch if _in_step_with_prim(view, report) else 0
    return replace(
        view,
        synced_epoch=max(view.synced_epoch, synced_epoch),
        peer=report,
        peer_heard_s=view.now_s,
        grants=_grant(view, report),
        peer_alone_epoch=max(view.peer_alone_epoch, alone_epoch),
        relation=None if report.generation is None else view.relation,
        compared=("", "") if report.generation is None else view.compared,
        split_seen=view.split_seen and report.serving,
        won=0,
        # The peer asks for the next one then. What is asked for now may still be given, and used.
        spent=view.spent if view.asking else view.asked_epoch,
        overruled=False,
        no_ruling=False,
        no_ruling_said=False,
        undecided=False,
    )


def _in_step_with_prim(view: View, report: Report) -> bool:
    """A PRIM acknowledges nothing that its secondary has not got, whatever it wrote alone before.

    One that lost its secondary at the very end of a resync is PRIM too, and waits, because the
    secondary may have everything. Whether it has is seen here only, by the generation.
    """
    mine = view.engine.generation if view.engine else None
    theirs = report.generation
    return (
        report.state is State.PRIM
        and mine is not None
        and theirs is not None
        and mine.current == theirs.current
    )


_ENDS_WHAT_RAN = frozenset({Job.RECOVERING, Job.STEPPING_ASIDE, Job.STOPPING})


def _grant(view: View, report: Report) -> int:
    """The peer's claim that this node agrees to; while it does, it claims nothing for itself.

    The first by name goes first when both claim. Never granted by one that serves or may take over,
    nor while what it served is still being stopped (by force, that is cut off before);
    but what was granted stays so until the claim is gone, whatever this node is by then.
    """
    if not report.claim or view.state in SERVING:
        return 0
    not_free = view.state is State.SECOND or view.job in _ENDS_WHAT_RAN
    if not_free and view.grants != report.claim:
        return 0
    mine_first = view.claim > 0 and view.settings.node < view.settings.peer
    return 0 if mine_first else report.claim


def _learn(view: View, engine: Engine) -> View:
    before = view.engine
    quiet_since_s = view.link_quiet_since_s
    if engine.link_up:
        quiet_since_s = view.now_s
    elif before is None or before.link_up:
        quiet_since_s = view.now_s - (engine.link_silent_s or 0.0)
    followed = engine.role == "secondary" and engine.link_up and engine.up_to_date
    newly = followed and not (before is not None and before.link_up and before.up_to_date)
    heard_epoch = view.peer.epoch if view.peer else 0
    synced_epoch = view.synced_epoch
    if newly:
        synced_epoch = max(synced_epoch, heard_epoch, view.peer_alone_epoch)
    if engine.role == "secondary" and engine.up_to_date and engine.trusted:
        synced_epoch = max(synced_epoch, engine.welcomed_epoch)
    return replace(
        view,
        engine=engine,
        engine_gone="",
        link_quiet_since_s=quiet_since_s,
        synced_epoch=synced_epoch,
    )


@functools.cache
def rows_of(state: State, event: type, kind: Kind = Kind.MIRROR) -> tuple[Rule, ...]:
    return tuple(r for r in TABLES[kind] if state in r.given and event in r.on)


def step(view: View, event: Event, rows: Rows | None = None) -> Decision:
    """The first row that fits, with its blanks filled in. Other `rows` are for tests."""
    rule = choose(view, event, rows)
    after = view
    if rule.job is not None:
        after = replace(after, job=rule.job)
    if rule.ends_job:
        after = replace(after, job=None)
    do: list[Action] = []
    for action in rule.do:
        filled = _fill(after, action)
        if isinstance(filled, BecomePrimary | BecomeSecondary | ContinueAlone):
            after = replace(after, epoch=max(after.epoch, filled.epoch), won=0, undecided=False)
            if not isinstance(filled, BecomeSecondary) and getattr(filled, "alone", True):
                after = replace(after, alone_epoch=filled.epoch)
        do.append(filled)
    for note in rule.sets:
        after = note.apply(after, event)
    if rule.then is not None and rule.then is not after.state:
        let_go = rule.then not in SERVING and (after.let_go or after.state in SERVING)
        after = replace(after, state=rule.then, since_s=view.now_s, let_go=let_go)
    return Decision(rule, after, tuple(do), view.state, (view, event))


def choose(view: View, event: Event, rows: Rows | None = None) -> Rule:
    kind = view.settings.kind
    table = rows(view.state, type(event)) if rows else rows_of(view.state, type(event), kind)
    job_runs = _job_runs(view, event)
    for rule in table:
        if job_runs and rule.job is not None and not rule.instead:
            continue
        if rule.when is None or rule.when.holds(view, event):
            return rule
    raise BrokenInvariant(f"no rule for {type(event).__name__} in {view.state.value}")


def _job_runs(view: View, event: Event) -> bool:
    """At the end of a job its successor may begin."""
    return view.job is not None and not isinstance(event, JobDone | JobFailed)


def _fill(view: View, action: Action) -> Action:
    match action:
        case BecomePrimary():
            blank = view.engine is not None and view.engine.generation.blank
            first = blank and view.wish in (Wish.PRIM, Wish.PRIM_FORCED)
            return replace(action, epoch=view.won or next_epoch(view), first=first)
        case ContinueAlone():
            return replace(action, epoch=view.won or next_epoch(view))
        case Outdate():
            # Marked, not fenced: what the peer has claimed or announced it may never use.
            seen = view.engine.epoch if view.engine else 0
            return replace(action, epoch=max(view.epoch, seen), alone=view.peer_alone_epoch)
        case ClaimEpoch():
            bound_s = view.settings.arbiter_timeout_s
            return replace(action, epoch=claimed_epoch(view), again=view.no_ruling, bound_s=bound_s)
        case BecomeSecondary():
            theirs = view.peer.epoch if view.peer else 0
            return replace(action, epoch=max(view.epoch, theirs, 1))
        case _:
            return action


def _checkers(view: View) -> str:
    word = "checker" if len(view.unwell) == 1 else "checkers"
    return f"{word} {', '.join(view.unwell)}"


def sentence(because: str, view: View, event: Event) -> str:
    """The row's sentence with names in it."""
    words = {
        "node": view.settings.node,
        "peer": view.settings.peer,
        "peer_state": view.peer.state.value if view.peer else "unknown",
        "job": view.job.value if view.job else "idle",
        "timeout": f"{view.settings.heartbeat_timeout_s:g} s",
        "max_loops": str(view.settings.max_loops),
        "standing": standing(view).value,
        "trouble": view.trouble,
        "unwell": _checkers(view),
        "arbiter": ARBITERS[view.settings.arbitration],
        "ruling": view.arbiter_text or "no reason known",
        "by": "",
        "text": "",
        "what": "",
    }
    match event:
        case JobFailed(text=text) | AsideFailed(text=text) | EngineGone(text=text):
            words["text"] = text.rstrip(".")
        case ServiceExited(service=service, text=text):
            words |= {"what": f"service {service}", "text": text.rstrip(".")}
        case CheckerTripped(checker=checker, text=text):
            words |= {"what": f"checker {checker}", "text": text.rstrip(".")}
        case PrimAsked(by=by):
            words["by"] = by
        case _:
            words["by"] = getattr(event, "by", "")
    return because.format_map(words)
