"""A node that comes back to one that serves: what only it has gives way, and that is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.actions import ContinueAlone
from twofold.machine.events import PeerHeard, RelationKnown
from twofold.machine.model import Engine, Generation, Job, Relation, Report, State, View, Wish
from twofold.machine.rule import Severity
from twofold.machine.step import absorb, step

MINE = Generation(current="2", base="1", history=("1",), sole=True, role="primary", epoch=2)
THEIRS = Generation(current="1", base="1", sole=True, role="primary", epoch=2)
BACK = View(
    state=State.WAIT,
    wish=Wish.START,
    now_s=10.0,
    peer_heard_s=10.0,
    engine=Engine(generation=MINE, epoch=2, up_to_date=True),
    peer=Report(state=State.ALONE, epoch=2, generation=THEIRS),
    compared=(repr(MINE), repr(THEIRS)),
)


@pytest.mark.parametrize(
    ("relation", "words"),
    [
        (Relation.DIVERGED, "both nodes went on alone"),
        (Relation.MINE_NEWER, "a has writes that b has not"),
    ],
)
def test_what_only_this_node_has_gives_way_with_an_alarm(relation: Relation, words: str) -> None:
    event = RelationKnown(relation)
    decision = step(absorb(BACK, event, 10.1), event)
    assert decision.view.state is State.SECOND
    assert decision.rule.severity is Severity.ALARM
    assert words in decision.because


def test_an_older_copy_follows_without_an_alarm() -> None:
    event = RelationKnown(Relation.THEIRS_NEWER)
    view = replace(BACK, relation=None)
    decision = step(absorb(view, event, 10.1), event)
    assert decision.view.state is State.SECOND
    assert decision.rule.severity is Severity.INFO


def test_a_stop_that_comes_after_a_long_sleep_does_not_let_the_old_writes_out() -> None:
    """The other served meanwhile and has stopped again: going on alone would acknowledge them."""
    asleep = View(
        state=State.PRIM,
        job=Job.HANDING_OVER,
        wish=Wish.STOP,
        now_s=10.0,
        epoch=2,
        peer_heard_s=10.0,
        engine=Engine(role="primary", epoch=2, frozen=True, up_to_date=True, generation=MINE),
        peer=Report(state=State.SECOND, generation=THEIRS),
    )
    heard = PeerHeard(Report(state=State.STOP, leaving=True, epoch=9, alone_epoch=9))
    decision = step(absorb(asleep, heard, 10.1), heard)
    assert not any(isinstance(action, ContinueAlone) for action in decision.do)
    assert decision.view.job is Job.FORCING
    assert decision.view.state is State.WAIT and decision.view.wish is Wish.STOP
