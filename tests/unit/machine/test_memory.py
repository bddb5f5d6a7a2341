"""What cannot be remembered is not taken, and a second keeps its right to take it later."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.machine.test_waking import ASLEEP
from twofold.machine.actions import BecomePrimary, StartApplication, StopEngine
from twofold.machine.events import Found, JobFailed, Look, PrimAsked
from twofold.machine.model import Engine, Job, State, View
from twofold.machine.rule import Severity
from twofold.machine.step import Decision, absorb, step
from twofold.wire import statefile


def offered(event: Look | PrimAsked) -> Decision:
    return step(absorb(ASLEEP, event, 10.1), event)


def test_a_take_over_by_itself_waits_and_is_decided_again() -> None:
    decision = offered(Look())
    assert any(isinstance(action, BecomePrimary) for action in decision.do)
    assert decision.waits_for_memory
    undone = decision.undone()
    assert (undone.do, undone.job, undone.changed) == ((), None, False)
    assert undone.rule.severity is Severity.QUIET
    assert undone.view.state is State.SECOND and undone.view.epoch == ASLEEP.epoch
    assert step(undone.view, Look()).do == decision.do


def test_what_lets_go_does_not_wait() -> None:
    stopping = replace(ASLEEP, peer=None)
    decision = step(absorb(stopping, Look(), 10.1), Look())
    assert not decision.waits_for_memory


SERVING_ENGINE = Engine(role="primary", epoch=2)


def refused_to_go_on() -> Decision:
    """A hand-over failed, and the engine, which is primary still, does not serve again either."""
    serving = View(state=State.PRIM, job=Job.SERVING, epoch=2, now_s=5.0, engine=SERVING_ENGINE)
    event = JobFailed(Job.SERVING, BecomePrimary(alone=False), "io_error", "no memory")
    return step(absorb(serving, event, 5.1), event)


def test_an_engine_that_refused_to_go_on_is_ended_for_who_cannot_remember_that() -> None:
    decision = refused_to_go_on()
    assert decision.view.state is State.WAIT
    assert StopEngine(abort=True) in decision.do


def test_what_was_given_up_is_not_served_by_the_daemon_that_comes_back() -> None:
    given_up = refused_to_go_on().view
    text = statefile.encode(given_up, 1000.0)
    back = statefile.decode(text, View(now_s=9.0), "state.json", 1003.0)
    found = Found(SERVING_ENGINE, application_runs=True)
    decision = step(absorb(back, found, 9.1), found)
    assert decision.view.state is State.WAIT
    assert StopEngine(abort=True) in decision.do
    assert not any(isinstance(action, StartApplication) for action in decision.do)


def test_who_serves_again_has_not_given_it_up() -> None:
    back = replace(View(now_s=9.0), epoch=2)
    found = Found(SERVING_ENGINE, application_runs=True)
    decision = step(absorb(back, found, 9.1), found)
    assert decision.view.state is State.PRIM and not decision.view.let_go
