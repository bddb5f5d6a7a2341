"""The questions rules ask: named, pure, and joined with `&`, `|` and `~`.

The name is what documentation and diagrams show, so it reads as a clause: "peer serving and idle".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twofold.errors import MirrorFailed
from twofold.machine import links
from twofold.machine.actions import BecomePrimary, BecomeSecondary, ContinueAlone, StopApplication
from twofold.machine.arbitration import STAND_DOWN_S
from twofold.machine.events import (
    AsideFailed,
    CheckerTripped,
    Event,
    Found,
    JobDone,
    JobFailed,
    PrimAsked,
)
from twofold.machine.model import (
    Job,
    Offer,
    Relation,
    State,
    View,
    Wish,
    copy_current,
    recently_failed,
)
from twofold.machine.standing import Standing, prim_permitted, standing
from twofold.machine.verdicts import recent


@dataclass(frozen=True)
class Guard:
    name: str
    holds: Callable[[View, Event], bool]

    # The rules are asked some thousand times a second: a guard's own function is looked up once.

    def __and__(self, other: Guard) -> Guard:
        one, two = self.holds, other.holds
        return Guard(f"{self.name} and {other.name}", lambda v, e: one(v, e) and two(v, e))

    def __or__(self, other: Guard) -> Guard:
        one, two = self.holds, other.holds
        return Guard(f"({self.name} or {other.name})", lambda v, e: one(v, e) or two(v, e))

    def __invert__(self) -> Guard:
        one = self.holds
        return Guard(f"not ({self.name})", lambda v, e: not one(v, e))


def seen(name: str, test: Callable[[View], bool]) -> Guard:
    """A guard that looks at the view only."""
    return Guard(name, lambda v, _e: test(v))


def doing(*jobs: Job) -> Guard:
    names = " or ".join(j.name.lower().replace("_", " ") for j in jobs)
    return seen(f"doing: {names}", lambda v: v.job in jobs)


def ended(*jobs: Job) -> Guard:
    names = " or ".join(j.name.lower().replace("_", " ") for j in jobs)
    return Guard(f"of {names}", lambda _v, e: isinstance(e, JobDone | JobFailed) and e.job in jobs)


def wished(*wishes: Wish) -> Guard:
    names = " or ".join(w.value for w in wishes)
    return seen(f"wish is {names}", lambda v: v.wish in wishes)


def failed_at(name: str, *kinds: type) -> Guard:
    return Guard(f"at {name}", lambda _v, e: isinstance(e, JobFailed) and type(e.action) in kinds)


def _tripped(action: str) -> Guard:
    return Guard(
        f"its action is {action}",
        lambda _v, e: isinstance(e, CheckerTripped) and e.action == action,
    )


def _found(name: str, test: Callable[[Found], bool]) -> Guard:
    return Guard(name, lambda _v, e: isinstance(e, Found) and test(e))


busy = seen("busy", lambda v: v.job is not None)
resting = seen("resting after a failure", lambda v: v.now_s < v.rest_until_s)
engine_missing = seen("the engine is not running", lambda v: v.engine is None)
engine_primary = seen(
    "the engine is primary", lambda v: v.engine is not None and v.engine.role == "primary"
)
wanted = seen("it was started before", lambda v: v.wanted)
asked_for = seen("a person waits for it", lambda v: v.asked)
from_stop = seen("it was stopped before", lambda v: v.from_stop)
ended_meanwhile = seen("a service ended meanwhile", lambda v: v.ended_in_job != "")
stop_wished = wished(Wish.STOP)

peer_serving = seen("the peer serves", links.peer_serving)
peer_heard = seen("the peer is heard", links.peer_heard)
peer_silent = seen("the peer is silent", links.peer_silent)
peer_lost = seen("heartbeats and link are silent", links.peer_lost)
peer_left = seen(
    "the peer says it does not serve",
    lambda v: (
        links.peer_idle(v, State.STOP, State.WAIT) and not (v.peer is not None and v.peer.undecided)
    ),
)
peer_waits = seen(
    "the peer waits, and its data is known",
    lambda v: (
        links.peer_idle(v, State.WAIT) and v.peer is not None and v.peer.generation is not None
    ),
)
nobody_serves = seen(
    "both are secondary",
    lambda v: (
        links.peer_idle(v, State.SECOND)
        and v.peer is not None
        and v.peer.offer is None
        and v.now_s - v.since_s >= _patience_s(v) - 0.001
    ),
)
arbitrated = seen("somebody rules", lambda v: v.settings.arbitration != "none")
peer_agrees = seen("the peer agrees", links.agrees)
won = seen("the epoch was won", lambda v: v.won > 0)
overruled = seen("the peer has claimed it", lambda v: v.overruled)
peer_claimed = arbitrated & seen(
    "the peer has claimed the service",
    lambda v: v.peer is not None and v.peer.won > max(v.epoch, v.claimed),
)
no_ruling = seen("nobody ruled", lambda v: v.no_ruling and not v.asking)
no_ruling_said = seen("this was said already", lambda v: v.no_ruling_said)
undecided = seen("it served and nobody ruled", lambda v: v.undecided)
to_ask = arbitrated & seen(
    "nothing is asked yet",
    lambda v: not v.won and v.now_s >= v.ask_again_s - 0.001,
)
ruled = ~arbitrated | won
stood_down = ~arbitrated | (
    won & seen("the other had time to stop", lambda v: v.now_s - v.won_at_s >= STAND_DOWN_S - 0.001)
)
went_on = seen(
    "the peer has served alone since",
    lambda v: links.peer_heard(v) and v.peer_alone_epoch > v.epoch,
)
in_prim = seen("it is PRIM", lambda v: v.state is State.PRIM)
frozen = seen(
    "writes wait, and nothing is on its way that ends it",
    lambda v: v.engine is not None and v.engine.frozen and v.engine.epoch >= v.epoch,
)
second_gone = seen("the secondary is gone", links.second_gone)
alone_agreed = seen("the peer knows it, or cannot know", links.alone_agreed)
engine_gave_up = seen(
    "the engine has handed over, and nobody asked for that",
    lambda v: (
        v.engine is not None
        and v.engine.role == "secondary"
        and v.engine.epoch <= v.epoch
        # What the engine said before it was told to serve may still be the last that was heard.
        and v.now_s - v.since_s >= v.settings.heartbeat_timeout_s
    ),
)
peer_marked = seen("the peer has marked its copy for that", links.peer_marked_for_this)
marked_for_nothing = seen(
    "the peer's copy is marked, for an epoch in which this node has not gone on alone",
    lambda v: (
        links.peer_heard(v)
        and v.peer is not None
        and v.peer.state is State.SECOND
        and v.peer.knows_alone > v.alone_epoch
        and not (v.won or v.asking)
        # What it said while it was being let in again may be the last that was heard.
        and v.now_s - v.since_s >= v.settings.heartbeat_timeout_s
    ),
)
going_alone = seen("this was announced", lambda v: v.going_alone > 0)
link_up = seen("the link is up", links.link_up)
must_outdate = seen(
    "the peer goes on alone, and this copy does not know it",
    lambda v: (
        v.engine is not None
        and v.engine.up_to_date
        and v.peer_alone_epoch > max(v.synced_epoch, v.outdate_asked)
    ),
)
other_wins = seen("both serve and the other has precedence", links.other_wins)
both_serve = seen("both serve", links.peer_serving)
split_seen = seen("this was said before", lambda v: v.split_seen)
listening = seen(
    "this node slept, and what it knows of the peer may be long over",
    lambda v: v.now_s < v.listens_until_s,
)

copy_is_current = seen("this copy is current", copy_current)
unwell = seen("a checker that it waits for is not well", lambda v: v.unwell != ())
failover_on = seen("failover is on", lambda v: v.settings.failover)
takes_over = failover_on & ~unwell
offered = seen(
    "the peer offers the service",
    lambda v: (
        links.peer_heard(v)
        and v.peer is not None
        and v.peer.offer is not None
        and v.peer.offer_epoch >= v.epoch
        and not v.peer.serving
        and not v.grants
    ),
)
offering = seen("this node offers the service", lambda v: v.offer is not None)
served_since = seen(
    "the peer has gone on alone since", lambda v: v.peer_alone_epoch > v.offer_epoch
)
lost_to_me = peer_lost & (offering | (copy_is_current & (takes_over | wished(Wish.PRIM))))
offered_for_good = offered & seen(
    "because it stops", lambda v: v.peer is not None and v.peer.offer is Offer.STOP
)
offered_by_swap = seen("by a swap", lambda v: v.peer is not None and v.peer.offer is Offer.SWAP)

second_synced = seen(
    "the secondary has everything",
    lambda v: (
        links.link_up(v)
        and v.engine is not None
        and v.engine.peer_up_to_date
        # Told to go on alone it drops the link: what it said before that holds no longer.
        and v.engine.epoch >= v.alone_epoch
        and links.peer_heard(v)
        and v.peer is not None
        and v.peer.state is State.SECOND
    ),
)
second_able = second_synced & ~seen(
    "a checker there is not well", lambda v: v.peer is not None and v.peer.unwell
)
# Of what moves by itself; a person's swap moves all the same.
may_move = second_able & failover_on
peer_failed = seen(
    "the application failed there not long ago", lambda v: v.peer is not None and v.peer.failed
)
failed_here = seen("the application failed here not long ago", recently_failed)
peer_is_home = seen("the peer is the default primary", lambda v: _home(v) == v.settings.peer)
swap_due = seen("a swap back is due", lambda v: v.swap_due)
loops_spent = seen(
    "max_loops is reached",
    lambda v: len(recent(v.loops_s, v.now_s, v.settings.loop_interval_s)) >= v.settings.max_loops,
)
disk_failed = seen(
    "the disk failed",
    lambda v: v.engine is not None and v.engine.failed in ("io_error", "read_only"),
)

forced = Guard("forced", lambda _v, e: isinstance(e, PrimAsked) and e.force)
at_engine = failed_at("an engine command", BecomePrimary)
at_handover = failed_at("the engine's hand-over", BecomeSecondary)
engine_silent = at_handover & Guard(
    "it gave no answer", lambda _v, e: isinstance(e, JobFailed) and e.reason == MirrorFailed.code
)
at_app_stop = failed_at("the stop of the application", StopApplication)
alone_refused = Guard(
    "it was continue alone",
    lambda _v, e: isinstance(e, AsideFailed) and isinstance(e.action, ContinueAlone),
)
tripped_none = _tripped("none")
tripped_stop = _tripped("stop")
tripped_failover = _tripped("failover") | _tripped("wait")
tripped_wait = _tripped("wait")

found_outlived = Guard(
    "a primary engine runs in an epoch that is over",
    lambda v, e: (
        isinstance(e, Found)
        and e.engine is not None
        and e.engine.role == "primary"
        and e.engine.epoch < v.epoch
    ),
)
found_serving = _found(
    "a primary engine and the application run",
    lambda e: e.engine is not None and e.engine.role == "primary" and e.application_runs,
)
found_primary = _found(
    "a primary engine runs", lambda e: e.engine is not None and e.engine.role == "primary"
)
found_let_go = Guard(
    "a primary engine runs, and this node had given the service up",
    lambda v, e: v.let_go and found_primary.holds(v, e),
)
found_secondary = _found(
    "a secondary engine runs", lambda e: e.engine is not None and e.engine.role == "secondary"
)
found_application = _found("the application runs", lambda e: e.application_runs)
found_engine = _found("an engine runs", lambda e: e.engine is not None)
found_alone = _found("alone", lambda e: e.engine is not None and e.engine.alone)

may_serve = seen("this node may serve", lambda v: standing(v) is Standing.MAY_SERVE)
may_prim = seen("nothing speaks against this data", prim_permitted)
comparing = seen("the comparison is not known yet", lambda v: standing(v) is Standing.COMPARING)
equals = seen(
    "the peer waits with the same data",
    lambda v: (
        v.relation is Relation.EQUAL
        and links.peer_idle(v, State.WAIT)
        and v.peer is not None
        and v.peer.generation is not None
    ),
)
diverged = seen("both went on alone", lambda v: v.relation is Relation.DIVERGED)
newer_here = seen("this node's data is newer", lambda v: v.relation is Relation.MINE_NEWER)
strangers = seen("the data have nothing in common", lambda v: v.relation is Relation.UNRELATED)
must_compare = seen(
    "there are new generations to compare", lambda v: _pair(v) not in (None, v.compared)
)
peer_follows = seen("the peer is secondary", lambda v: links.peer_idle(v, State.SECOND))
refused_for_its_epoch = seen(
    "it has seen a later epoch, and is not connected",
    lambda v: v.peer is not None and v.peer.epoch > v.epoch and not links.link_up(v),
)
granted = seen(
    "the peer granted it",
    lambda v: (
        v.claim > 0
        and links.peer_heard(v)
        and v.peer is not None
        and v.peer.grants == v.claim
        and not v.grants
    ),
)
clear = (peer_silent & ruled) | granted
asks_to_begin = seen(
    "wants to begin without the peer",
    lambda v: (
        v.wish is Wish.PRIM_FORCED
        or (v.wish is Wish.PRIM and prim_permitted(v))
        or (v.wish is Wish.START and not v.overruled and begins_by_itself(v))
    ),
)
resumes = undecided & seen(
    "its data may be the newest",
    lambda v: standing(v) in (Standing.MAY_SERVE, Standing.NOT_SURE),
)
unclaimed = seen("nothing claimed yet", lambda v: v.claim == 0)
claiming = seen("something is claimed", lambda v: v.claim > 0)


def begins_by_itself(view: View) -> bool:
    answer = standing(view)
    return answer is Standing.MAY_SERVE or (view.undecided and answer is Standing.NOT_SURE)


def _patience_s(view: View) -> float:
    return view.settings.offer_timeout_s if view.offer else view.settings.heartbeat_timeout_s


def _home(view: View) -> str:
    wish = view.settings.default_primary
    if wish == "none":
        return view.settings.node
    if wish == "last":
        return view.settings.peer if view.took_over else view.settings.node
    return wish


def _pair(view: View) -> tuple[str, str] | None:
    """The two generations that a comparison would be about."""
    if view.engine is None or not links.peer_heard(view):
        return None
    theirs = view.peer.generation if view.peer else None
    if theirs is None:
        return None
    return fingerprint(view)


def fingerprint(view: View) -> tuple[str, str]:
    """What the answer of a comparison depends on."""
    mine = view.engine.generation if view.engine else None
    theirs = view.peer.generation if view.peer else None
    return (repr(mine), repr(theirs))
