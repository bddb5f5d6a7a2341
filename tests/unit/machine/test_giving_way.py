"""A node that comes back to one that serves: what only it has gives way, and that is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.events import RelationKnown
from twofold.machine.model import Engine, Generation, Relation, Report, State, View, Wish
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
