"""How a hand-over ends: offered, taken back, or forced; never offered by who is not sure."""

from __future__ import annotations

import pytest

from twofold.errors import MirrorFailed
from twofold.machine.actions import BecomePrimary, BecomeSecondary, StopEngine
from twofold.machine.events import Event, JobDone, JobFailed
from twofold.machine.model import Engine, Job, Report, Settings, State, View, Wish
from twofold.machine.step import Decision, absorb, step

DONE = JobDone(Job.HANDING_OVER)
HUNG = JobFailed(Job.HANDING_OVER, BecomeSecondary(), MirrorFailed.code, "the engine hangs")
LOST = JobFailed(Job.HANDING_OVER, BecomeSecondary(), "link_lost", "the secondary was lost")


def ended(event: Event, *, trusted: bool, wish: Wish, claimed: int = 0) -> Decision:
    view = View(
        settings=Settings(arbitration="witness"),
        state=State.PRIM,
        job=Job.HANDING_OVER,
        wish=wish,
        now_s=5.0,
        peer_heard_s=5.0,
        epoch=1,
        engine=Engine(role="secondary" if event == DONE else "primary", epoch=1, trusted=trusted),
        peer=Report(state=State.SECOND, claimed=claimed),
    )
    return step(absorb(view, event, 5.1), event)


@pytest.mark.parametrize("wish", [Wish.NONE, Wish.STOP])
def test_who_is_not_sure_of_its_copy_offers_nothing(wish: Wish) -> None:
    """The peer lost power and came back before anybody missed it, while writes were under way."""
    assert ended(DONE, trusted=True, wish=wish).view.offer is not None
    unsure = ended(DONE, trusted=False, wish=wish)
    assert unsure.view.offer is None
    assert "does not have everything" in unsure.because


def test_who_is_not_sure_of_its_copy_goes_on_serving() -> None:
    decision = ended(DONE, trusted=False, wish=Wish.NONE)
    assert decision.view.state is State.PRIM
    assert BecomePrimary(alone=False, force=True, epoch=2) in decision.do


def test_or_lets_go_when_that_would_be_in_the_others_term() -> None:
    decision = ended(DONE, trusted=False, wish=Wish.NONE, claimed=1_000_000)
    assert decision.view.state is State.WAIT
    assert not any(isinstance(action, BecomePrimary) for action in decision.do)


@pytest.mark.parametrize("wish", [Wish.NONE, Wish.STOP])
def test_an_engine_that_hangs_is_not_asked_to_serve_again(wish: Wish) -> None:
    decision = ended(HUNG, trusted=True, wish=wish)
    assert decision.view.state is State.WAIT
    assert StopEngine(abort=True) in decision.do
    assert decision.view.wish is (Wish.STOP if wish is Wish.STOP else Wish.START)


def test_one_that_refuses_is_asked_to_serve_again() -> None:
    assert ended(LOST, trusted=True, wish=Wish.NONE).view.state is State.PRIM
