"""A PRIM whose engine follows: a hand-over that a dead daemon had asked for ended after the next
daemon had looked. Nothing could be written there, and nobody would have noticed.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.actions import BecomePrimary, StopApplication
from twofold.machine.events import EngineChanged
from twofold.machine.model import Engine, Generation, Job, Report, State, View
from twofold.machine.step import absorb, step

DATA = Generation(current="1", base="1", epoch=2)
GAVE_UP = Engine(role="secondary", epoch=2, up_to_date=True, generation=DATA)
PRIM = View(
    state=State.PRIM,
    epoch=2,
    since_s=10.0,
    now_s=10.0,
    peer_heard_s=10.0,
    engine=replace(GAVE_UP, role="primary", link_up=True),
    peer=Report(state=State.SECOND, epoch=2, generation=DATA),
)
LATER_S = 13.1


def test_it_serves_again_the_application_last() -> None:
    view = replace(PRIM, now_s=LATER_S - 0.1, peer_heard_s=LATER_S - 0.1)
    event = EngineChanged(GAVE_UP)
    decision = step(absorb(view, event, LATER_S), event)
    assert decision.view.job is Job.SERVING and decision.view.state is State.PRIM
    first, second = decision.do[:2]
    assert isinstance(first, StopApplication)
    assert isinstance(second, BecomePrimary) and second.epoch > 2 and not second.alone


@pytest.mark.parametrize(
    ("view", "engine", "at_s"),
    [
        (PRIM, GAVE_UP, 10.5),  # the last word from before it was told to serve
        (replace(PRIM, job=Job.HANDING_OVER), GAVE_UP, LATER_S),  # it was asked to
        (PRIM, PRIM.engine, LATER_S),
        (PRIM, replace(GAVE_UP, epoch=3), LATER_S),  # in an epoch of another's
    ],
)
def test_else_nothing_is_done(view: View, engine: Engine, at_s: float) -> None:
    view = replace(view, now_s=at_s - 0.1, peer_heard_s=at_s - 0.1)
    event = EngineChanged(engine)
    decision = step(absorb(view, event, at_s), event)
    assert not any(isinstance(action, BecomePrimary) for action in decision.do)
