"""A second that holds its copy for out of date, though its primary never went on alone: without an
end of the session it would stay so, and nobody would take over when the primary dies.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.actions import ContinueAlone
from twofold.machine.events import PeerHeard
from twofold.machine.model import Engine, Generation, Report, State, View
from twofold.machine.step import absorb, step

DATA = Generation(current="1", base="1", role="primary", epoch=1)
TIMEOUT_S = 3.0
PRIMARY = View(
    state=State.PRIM,
    epoch=1,
    alone_epoch=1,
    claimed=2,  # the arbiter gave it, and the peer was heard before it was used
    since_s=10.0,
    now_s=10.0,
    peer_heard_s=10.0,
    engine=Engine(role="primary", epoch=1, link_up=True, peer_up_to_date=True, generation=DATA),
)
MARKED = Report(state=State.SECOND, epoch=1, knows_alone=2, generation=DATA)
LATER_S = 10.0 + TIMEOUT_S + 0.1


def test_it_is_announced_and_done_once_the_peer_knows() -> None:
    event = PeerHeard(MARKED)
    announced = step(absorb(PRIMARY, event, LATER_S), event)
    assert announced.do == () and announced.view.going_alone > 2
    assert "is to be copied again" in announced.because
    early = step(absorb(announced.view, event, LATER_S + 0.1), event)
    assert not any(isinstance(action, ContinueAlone) for action in early.do)
    event = PeerHeard(replace(MARKED, knows_alone=announced.view.going_alone))
    done = step(absorb(announced.view, event, LATER_S + 0.2), event)
    assert done.view.state is State.ALONE
    assert [type(action) for action in done.do] == [ContinueAlone]
    assert done.view.alone_epoch == announced.view.going_alone


@pytest.mark.parametrize(
    ("view", "report", "at_s"),
    [
        # Its last word from before it was let in may still be the last that was heard.
        (PRIMARY, MARKED, 10.5),
        # This node went on alone in that epoch: the copy is being made, or will be.
        (replace(PRIMARY, alone_epoch=2), MARKED, LATER_S),
        # The epoch that the arbiter gave may still be used; or the answer is under way.
        (replace(PRIMARY, asking=2), MARKED, LATER_S),
        # Its copy is current, or it is not the second.
        (PRIMARY, replace(MARKED, knows_alone=0), LATER_S),
        (PRIMARY, replace(MARKED, state=State.WAIT), LATER_S),
    ],
)
def test_nothing_is_done_without_that_mark(view: View, report: Report, at_s: float) -> None:
    event = PeerHeard(report)
    decision = step(absorb(view, event, at_s), event)
    assert decision.view.going_alone == 0 and decision.view.state is State.PRIM
