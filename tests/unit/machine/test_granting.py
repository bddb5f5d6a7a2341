"""Whether a node agrees that the other begins to serve: not while its own application runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.events import PeerHeard
from twofold.machine.guards import fingerprint
from twofold.machine.model import (
    Engine,
    Generation,
    Job,
    Relation,
    Report,
    Settings,
    State,
    View,
    Wish,
)
from twofold.machine.step import absorb, step

CLAIM = Report(state=State.WAIT, claim=7)
WAITING = View(state=State.WAIT, since_s=10.0, now_s=10.0, peer_heard_s=10.0)


def granted(view: View, report: Report = CLAIM) -> int:
    return absorb(view, PeerHeard(report), 10.1).grants


@pytest.mark.parametrize("job", [Job.STOPPING, Job.RECOVERING, Job.STEPPING_ASIDE])
def test_one_that_still_stops_what_ran_agrees_when_that_has_ended(job: Job) -> None:
    stopping = replace(WAITING, job=job)
    assert granted(stopping) == 0
    assert granted(replace(stopping, state=State.STOP, job=None)) == 7


@pytest.mark.parametrize("job", [None, Job.STARTING, Job.FORCING])
def test_one_that_runs_nothing_or_has_cut_it_off_agrees_at_once(job: Job | None) -> None:
    assert granted(replace(WAITING, job=job)) == 7


def test_what_was_agreed_to_stays_so() -> None:
    assert granted(replace(WAITING, job=Job.STOPPING, grants=7)) == 7
    assert granted(replace(WAITING, job=Job.STOPPING, grants=6)) == 0


SAME = Generation(current="00000000000000aa", role="primary", epoch=3)


def asking(trusted: bool) -> View:
    """It asks to begin; both have the same data, and the other's copy is a whole one."""
    view = replace(
        WAITING,
        settings=Settings(node="a", peer="b"),
        wish=Wish.START,
        claim=5,
        engine=Engine(generation=SAME, trusted=trusted),
        peer=Report(state=State.WAIT, claim=7, generation=replace(SAME, role="secondary")),
        relation=Relation.EQUAL,
    )
    return replace(view, compared=fingerprint(view))


def hear(view: View) -> View:
    assert view.peer is not None
    heard = PeerHeard(view.peer)
    return step(absorb(view, heard, 10.1), heard).view


def test_one_that_may_not_serve_any_more_asks_no_longer_and_agrees_to_the_other() -> None:
    told = hear(asking(trusted=False))
    assert told.claim == 0
    assert hear(told).grants == 7


def test_one_that_may_serve_goes_on_asking() -> None:
    told = hear(asking(trusted=True))
    assert told.claim == 5
    assert hear(told).grants == 0


def test_while_the_data_is_compared_it_goes_on_asking() -> None:
    assert hear(replace(asking(trusted=False), relation=None)).claim == 5
