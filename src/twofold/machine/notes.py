"""What a decision makes this node remember: named, pure changes of a view.

A note is applied when the decision is made, before its first action; what must survive a crash is
on disk by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twofold.machine.arbitration import first_epoch, term_of
from twofold.machine.changed import replace
from twofold.machine.events import (
    AsideFailed,
    CheckerTripped,
    EngineGone,
    Event,
    JobFailed,
    ServiceExited,
    StopAsked,
)
from twofold.machine.guards import fingerprint
from twofold.machine.model import Offer, View, Wish
from twofold.machine.verdicts import recent


@dataclass(frozen=True)
class Note:
    name: str
    apply: Callable[[View, Event], View]


def next_epoch(view: View) -> int:
    """Higher than any epoch this node has used, claimed or heard of."""
    seen = [view.epoch, view.claimed, view.offer_epoch, view.peer_alone_epoch, view.going_alone - 1]
    seen += [view.engine.epoch, view.engine.generation.epoch] if view.engine else []
    seen += [view.peer.epoch, view.peer.offer_epoch, view.peer.claimed] if view.peer else []
    return max(seen) + 1


def claimed_epoch(view: View) -> int:
    """What to ask the arbiter for: with a witness, the first epoch of the next term.

    A term that the peer may use at any moment, because it won it or asks for it, is asked for too:
    a higher one would be given, and both would serve. What the witness answers is that the peer has
    it. Its own last question is asked again for the same reason: the term may be the peer's.
    """
    epoch = next_epoch(view)
    if view.settings.arbitration != "witness":
        return epoch
    last = term_of(epoch - 1)
    theirs = term_of(view.peer.won) if view.peer else 0
    may_be_theirs = theirs == last > term_of(view.claimed)
    return first_epoch(last if may_be_theirs else last + 1)


def _ask(view: View, _event: Event) -> View:
    """The moment to ask again is only reached when the answer got lost on its way to us."""
    settings = view.settings
    patience_s = 2 * settings.arbiter_timeout_s + 2 * settings.heartbeat_timeout_s
    epoch = claimed_epoch(view)
    return replace(
        view,
        asking=epoch,
        asked_epoch=max(view.asked_epoch, epoch),  # on disk before the question is out
        ask_again_s=view.now_s + patience_s,
    )


def wish(value: Wish) -> Note:
    return Note(f"wish {value.value}", lambda v, _e: replace(v, wish=value))


def offer(value: Offer) -> Note:
    return Note(f"offer: {value.value}", lambda v, _e: replace(v, offer=value, offer_epoch=v.epoch))


def _trouble(view: View, event: Event) -> View:
    match event:
        case JobFailed(text=text) | AsideFailed(text=text) | EngineGone(text=text):
            return replace(view, trouble=text)
        case ServiceExited(service=service, text=text):
            return replace(view, trouble=f"service {service}: {text}")
        case CheckerTripped(checker=checker, text=text):
            return replace(view, trouble=f"checker {checker}: {text}")
        case _:
            return view


def _claim(view: View, _event: Event) -> View:
    """Each claim has a number of its own: an answer to an earlier one is no answer to this."""
    number = max(view.last_claim + 1, int(view.now_s * 1000))
    return replace(view, claim=number, last_claim=number)


def _count_loop(view: View, event: Event) -> View:
    kept = recent(view.loops_s, view.now_s, view.settings.loop_interval_s)
    return _trouble(replace(view, loops_s=(*kept, view.now_s)), event)


def _unwanted(view: View, event: Event) -> View:
    kept = isinstance(event, StopAsked) and event.keep_wanted
    return replace(view, wanted=view.wanted and kept)


def _ended_in_job(view: View, event: Event) -> View:
    service = event.service if isinstance(event, ServiceExited) else ""
    return _trouble(replace(view, ended_in_job=service), event)


def _rest(view: View, event: Event) -> View:
    return _trouble(replace(view, rest_until_s=view.now_s + view.settings.retry_s), event)


def _failed_here(view: View, event: Event) -> View:
    return _trouble(replace(view, failed_at_s=view.now_s), event)


NOT_FROM_STOP = Note("was started", lambda v, _e: replace(v, from_stop=False, asked=False))
ASKED_FOR = Note("a person waits for it", lambda v, _e: replace(v, asked=True))
WANTED = Note("wanted", lambda v, _e: replace(v, wanted=True))
UNWANTED = Note("not wanted", _unwanted)
FROM_STOP = Note("came from STOP", lambda v, _e: replace(v, from_stop=True))
CLAIM = Note("claim the service", _claim)
NO_CLAIM = Note("no claim", lambda v, _e: replace(v, claim=0))
NO_OFFER = Note("no offer", lambda v, _e: replace(v, offer=None, offer_epoch=0))
LEFT_BEHIND = Note(
    "the peer may go on without this copy",
    lambda v, _e: replace(v, peer_alone_epoch=max(v.peer_alone_epoch, next_epoch(v))),
)
COUNT_LOOP = Note("count a loop", _count_loop)
FRESH_LOOPS = Note("forget loops", lambda v, _e: replace(v, loops_s=(), failed_at_s=None))
TROUBLE = Note("remember the failure", _trouble)
NO_TROUBLE = Note("no trouble", lambda v, _e: replace(v, trouble=""))
REST = Note("rest a while", _rest)
FAILED_HERE = Note("the application failed here", _failed_here)
TOOK_OVER = Note("took over", lambda v, _e: replace(v, took_over=True, failovers=v.failovers + 1))
STAYED = Note("did not take over", lambda v, _e: replace(v, took_over=False))
SWAP_DUE = Note("swap back", lambda v, _e: replace(v, swap_due=True))
SWAP_DONE = Note("no swap back", lambda v, _e: replace(v, swap_due=False))
ASK_CHECKERS = Note(
    "checkers are asked first", lambda v, _e: replace(v, unwell=v.settings.waits_for)
)
SPLIT_SEEN = Note("split seen", lambda v, _e: replace(v, split_seen=True))
ENDED_IN_JOB = Note("a service ended meanwhile", _ended_in_job)
ALL_RUN = Note("all services run", lambda v, _e: replace(v, ended_in_job=""))
ANNOUNCE_ALONE = Note(
    "announce to go on alone",
    lambda v, _e: replace(v, going_alone=next_epoch(v), going_alone_s=v.now_s),
)
ASK = Note("ask the arbiter", _ask)
NO_RULING_SAID = Note("said", lambda v, _e: replace(v, no_ruling_said=True))
UNDECIDED = Note("undecided", lambda v, _e: replace(v, undecided=True))
NOT_ALONE = Note("nothing announced", lambda v, _e: replace(v, going_alone=0))
OUTDATE_ASKED = Note("outdating asked", lambda v, _e: replace(v, outdate_asked=v.peer_alone_epoch))
ASKED = Note("asked", lambda v, _e: replace(v, compared=fingerprint(v), relation=None))
FORGET_ASKED = Note("compare again", lambda v, _e: replace(v, compared=("", ""), relation=None))
