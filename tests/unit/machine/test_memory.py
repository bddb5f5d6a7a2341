"""What cannot be remembered is not taken, and a second keeps its right to take it later."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.machine.test_waking import ASLEEP
from twofold.machine.actions import BecomePrimary
from twofold.machine.events import Look, PrimAsked
from twofold.machine.model import State
from twofold.machine.rule import Severity
from twofold.machine.step import Decision, absorb, step


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
