"""How a hand-over that fails ends: taken back, or, when the engine hangs, forced."""

from __future__ import annotations

import pytest

from twofold.errors import MirrorFailed
from twofold.machine.actions import BecomeSecondary, StopEngine
from twofold.machine.events import JobFailed
from twofold.machine.model import Engine, Job, Report, State, View, Wish
from twofold.machine.step import Decision, absorb, step

HUNG = JobFailed(Job.HANDING_OVER, BecomeSecondary(), MirrorFailed.code, "the engine hangs")
LOST = JobFailed(Job.HANDING_OVER, BecomeSecondary(), "link_lost", "the secondary was lost")


def ended(event: JobFailed, wish: Wish) -> Decision:
    view = View(
        state=State.PRIM,
        job=Job.HANDING_OVER,
        wish=wish,
        now_s=5.0,
        peer_heard_s=5.0,
        epoch=1,
        engine=Engine(role="primary", epoch=1),
        peer=Report(state=State.SECOND),
    )
    return step(absorb(view, event, 5.1), event)


@pytest.mark.parametrize(("wish", "then"), [(Wish.NONE, Wish.START), (Wish.STOP, Wish.STOP)])
def test_an_engine_that_hangs_is_not_asked_to_serve_again(wish: Wish, then: Wish) -> None:
    decision = ended(HUNG, wish)
    assert decision.view.state is State.WAIT
    assert StopEngine(abort=True) in decision.do
    assert decision.view.wish is then


def test_one_that_refuses_is_asked_to_serve_again() -> None:
    assert ended(LOST, Wish.NONE).view.state is State.PRIM
