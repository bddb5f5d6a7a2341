"""What the machine knows: one immutable `View` of one module on this node.

A view has three kinds of knowledge, and nothing else takes part in a decision:

- what *we decided* (state, job, wish, claim, offer, epoch ...): changed only by a decision;
- what we were *told* (the engine's status, the peer's report): changed only by `step.absorb`;
- what a person *set* (settings): changed only by a new configuration.

A `job` is the one list of slow actions that is being carried out now; while it runs the state is
Transient. `epoch` is the highest epoch this node has ever used: it is on disk before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum

from twofold.errors import OperatorError


class Kind(Enum):
    MIRROR = "mirror"
    FARM = "farm"
    LIGHT = "light"


class State(Enum):
    STOP = "STOP"
    WAIT = "WAIT"
    ALONE = "ALONE"
    PRIM = "PRIM"
    SECOND = "SECOND"
    UP = "UP"  # of modules that have no primary


MIRROR_STATES = (State.STOP, State.WAIT, State.ALONE, State.PRIM, State.SECOND)
LIGHT_STATES = (State.STOP, State.WAIT, State.UP)


class Readiness(Enum):
    NOT_READY = "NotReady"
    TRANSIENT = "Transient"
    READY = "Ready"


SERVING = frozenset({State.ALONE, State.PRIM})
RUNNING = SERVING | {State.UP}
"""Where the application runs; of a mirror, at most one node is in one of them in an epoch."""


class Job(Enum):
    """What is being done now; the value completes the sentence "this node is ..."."""

    CLEANING = "cleaning up what an earlier run left"
    STARTING = "starting the replication engine"
    ADOPTING = "finding its running parts again"
    SERVING = "starting to serve"
    FOLLOWING = "becoming the secondary"
    RESTARTING = "restarting the application"
    HANDING_OVER = "handing the service over"
    STEPPING_ASIDE = "giving up the service, which the other node has"
    RECOVERING = "stopping what was running"
    STOPPING = "stopping"
    FORCING = "stopping by force"


class Wish(Enum):
    """What a person asked of this node, until it is reached."""

    NONE = "none"
    START = "start"
    PRIM = "prim"
    PRIM_FORCED = "prim --yes"
    SECOND = "second"
    STOP = "stop"


class Offer(Enum):
    """Why a node that served gave the service to its peer."""

    SWAP = "swap"
    FAILOVER = "failover"
    STOP = "stop"


class Relation(Enum):
    """How our data compares with the peer's; the engine tells (`reconcile`)."""

    EQUAL = "equal"
    MINE_NEWER = "mine_newer"
    THEIRS_NEWER = "theirs_newer"
    MINE_BLANK = "mine_blank"
    THEIRS_BLANK = "theirs_blank"
    BOTH_BLANK = "both_blank"
    DIVERGED = "diverged"
    UNRELATED = "unrelated"


@dataclass(frozen=True)
class Generation:
    """Which version of the data a node has; made and kept by the engine."""

    current: str = "0"
    base: str = "0"
    history: tuple[str, ...] = ()
    role: str = "none"
    clean: bool = True
    sole: bool = False
    sync_target: bool = False
    outdated: bool = False
    epoch: int = 0

    @property
    def blank(self) -> bool:
        return self.current.strip("0") == ""


@dataclass(frozen=True)
class Engine:
    """The engine's last status, as far as decisions need it."""

    role: str = "none"  # none, primary, secondary
    epoch: int = 0
    alone: bool = False
    link_up: bool = False
    link_silent_s: float | None = None
    up_to_date: bool = False
    trusted: bool = True  # the copy is exactly that of its generation: not cut short by a crash
    peer_up_to_date: bool = False
    frozen: bool = False
    resync_percent: float | None = None
    refused: str | None = None
    failed: str | None = None
    failed_text: str = ""
    welcomed_epoch: int = 0  # in which a primary last let this copy in: it knows all until then
    rescuing: bool = False  # what only this node has is being saved before it is overwritten
    rescues: int = 0  # kept from before
    generation: Generation = field(default_factory=Generation)


@dataclass(frozen=True)
class Report:
    """What a node says about one module in each heartbeat."""

    state: State = State.STOP
    readiness: Readiness = Readiness.NOT_READY
    busy: bool = False
    epoch: int = 0
    took_over: bool = False
    up_to_date: bool = False
    leaving: bool = False
    offer: Offer | None = None
    offer_epoch: int = 0
    claim: int = 0
    grants: int = 0
    going_alone: int = 0  # a primary is about to go on alone in this epoch: outdate your copy
    knows_alone: int = 0  # ... and this copy is marked
    alone_epoch: int = 0  # what this node wrote since then, its peer may not have
    claimed: int = 0  # the last that it knows of, or asked for
    won: int = 0  # ... and may still use, or be given: until it hears the peer
    undecided: bool = False  # stopped serving for want of a ruling: no consent to take over
    failed: bool = False
    unwell: bool = False  # a checker with the action wait says that it cannot serve
    generation: Generation | None = None
    trusted: bool = True  # as in `Engine`
    digest: str = ""

    @property
    def serving(self) -> bool:
        return self.state in SERVING


@dataclass(frozen=True)
class Settings:
    kind: Kind = Kind.MIRROR
    node: str = "a"
    peer: str = "b"
    heartbeat_timeout_s: float = 3.0
    default_primary: str = "none"  # none, last, or a node
    failover: bool = True
    max_loops: int = 3
    loop_interval_s: float = 86400.0
    offer_timeout_s: float = 10.0
    retry_s: float = 5.0
    arbitration: str = "none"  # none, ping, witness: who rules when the nodes lose each other
    arbiter_timeout_s: float = 1.0  # bound of one question to the witnesses or ping addresses
    waits_for: tuple[str, ...] = ()  # checkers with the action wait


@dataclass(frozen=True)
class View:
    settings: Settings = field(default_factory=Settings)
    now_s: float = 0.0

    # decided
    state: State = State.STOP
    since_s: float = 0.0
    job: Job | None = None
    wish: Wish = Wish.NONE
    wanted: bool = False  # a person started it: start it again after a reboot
    asked: bool = False  # a person waits for this start: what fails is answered, not retried
    from_stop: bool = False  # `prim` came in STOP: refused, it goes back there
    epoch: int = 0
    let_go: bool = False  # it told the peer that it serves no more; its engine may be primary yet
    alone_epoch: int = 0  # the last in which it went on alone, or began so
    claimed: int = 0  # the last that the arbiter gave it, used or not
    asked_epoch: int = 0  # the last that it asked the arbiter for, answered or not
    claim: int = 0
    last_claim: int = 0
    offer: Offer | None = None
    offer_epoch: int = 0
    took_over: bool = False
    swap_due: bool = False
    going_alone: int = 0
    going_alone_s: float = 0.0
    outdate_asked: int = 0
    split_seen: bool = False
    loops_s: tuple[float, ...] = ()
    failed_at_s: float | None = None
    rest_until_s: float = 0.0
    compared: tuple[str, str] = ("", "")  # generations last given to the engine to compare
    ended_in_job: str = ""  # a service that ended while it was being started: see to it afterwards
    trouble: str = ""  # the last thing that went wrong here, for people
    failovers: int = 0
    asking: int = 0  # the epoch that the arbiter is asked for now
    spent: int = 0  # asked for before this node heard the peer, or in an earlier life: never used
    ask_again_s: float = 0.0  # not before this moment
    won: int = 0  # the epoch it gave this node, until it is used or the peer is heard
    won_at_s: float = 0.0
    overruled: bool = False  # ... or gave the peer, until that is heard
    no_ruling: bool = False  # the last question had no answer
    no_ruling_said: bool = False
    undecided: bool = False  # stopped serving for want of a ruling; nobody else may serve for it

    # told
    engine: Engine | None = None
    engine_gone: str = ""
    link_quiet_since_s: float = 0.0
    peer: Report | None = None
    peer_heard_s: float = 0.0  # at the start: when we began to listen
    listens_until_s: float = 0.0  # it slept: until then what it hears may be long over
    grants: int = 0
    unwell: tuple[str, ...] = ()  # of `Settings.waits_for`: those that fail, or were not asked yet
    relation: Relation | None = None
    peer_alone_epoch: int = 0
    synced_epoch: int = 0
    arbiter_heard: bool | None = None  # it answered when last looked for; None: not known
    arbiter_heard_s: float = 0.0  # the last time it did
    arbiter_text: str = ""


REMEMBERED = (
    "wanted",
    "epoch",
    "offer",
    "offer_epoch",
    "took_over",
    "let_go",
    "alone_epoch",
    "claimed",
    "asked_epoch",
    "peer_alone_epoch",
    "synced_epoch",
    "failovers",
    "loops_s",
    "failed_at_s",
)
"""The fields of a view that must survive a crash; `wire.statefile` is their format.

The last two are moments: the file has them in the time of the calendar, since a monotonic clock
begins anew with the machine.
"""

assert set(REMEMBERED) <= {f.name for f in fields(View)}


def readiness(view: View) -> Readiness:
    """Transient while something is being done or copied, NotReady while waiting for the world."""
    if view.state is State.STOP:
        return Readiness.TRANSIENT if view.job else Readiness.NOT_READY
    if view.job is not None:
        return Readiness.TRANSIENT
    if view.state is State.WAIT:
        return Readiness.NOT_READY
    if view.state is State.SECOND:
        return Readiness.READY if copy_current(view) else Readiness.TRANSIENT
    return Readiness.READY


def usable_epoch(view: View) -> int:
    """What the arbiter may still give this node, or gave it unheard; 0: nothing."""
    return view.asked_epoch if view.asked_epoch > max(view.spent, view.epoch) else 0


def copy_current(view: View) -> bool:
    """This SECOND has everything the primary ever acknowledged, as far as it was told.

    A copy that a crash cut short is not, until it has been in step with a primary again.
    """
    engine = view.engine
    if engine is None or not (engine.up_to_date and engine.trusted):
        return False
    return view.peer_alone_epoch <= view.synced_epoch


def marked(view: View) -> bool:
    """The engine itself would refuse to serve this copy."""
    engine = view.engine
    return engine is None or engine.generation.outdated or not engine.up_to_date


def report(view: View, digest: str = "") -> Report:
    """What this node tells its peer."""
    engine = view.engine
    return Report(
        state=view.state,
        readiness=readiness(view),
        busy=view.job is not None,
        epoch=view.epoch,
        took_over=view.took_over,
        up_to_date=copy_current(view),
        leaving=view.state is State.STOP or view.job in (Job.STOPPING, Job.FORCING),
        offer=view.offer,
        offer_epoch=view.offer_epoch,
        claim=view.claim,
        grants=view.grants,
        going_alone=view.going_alone,
        knows_alone=0 if copy_current(view) or not marked(view) else view.peer_alone_epoch,
        alone_epoch=view.alone_epoch,
        claimed=max(view.claimed, view.asked_epoch),
        won=max(view.won, usable_epoch(view)),
        undecided=view.undecided,
        failed=recently_failed(view),
        unwell=view.unwell != (),
        generation=engine.generation if engine else None,
        trusted=engine is None or engine.trusted,
        digest=digest,
    )


def recently_failed(view: View) -> bool:
    """The application failed here not long ago: do not hand it back."""
    at = view.failed_at_s
    return at is not None and view.now_s - at < min(view.settings.loop_interval_s, 3600.0)


def check_kind(kind: Kind) -> None:
    """Raises for the kinds that have their place but no rules yet."""
    if kind is Kind.FARM:
        raise OperatorError(
            f"modules of kind {kind.value!r} are not supported yet",
            'Use kind = "mirror" or "light" in [module], or remove the module.',
        )
