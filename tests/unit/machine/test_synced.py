"""When a copy counts as current, whatever comes first: the engine's word or the heartbeat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.actions import Outdate
from twofold.machine.events import EngineChanged, PeerHeard
from twofold.machine.model import Engine, Generation, Report, State, View, copy_current
from twofold.machine.step import absorb, step

SAME = Generation(current="0000000000000007", epoch=7)
LINKED = Engine(role="secondary", link_up=True, up_to_date=True, generation=SAME)
BEFORE = replace(
    View(state=State.SECOND, peer_alone_epoch=1, synced_epoch=1),
    engine=replace(LINKED, link_up=False),
)


def prim(epoch: int, generation: Generation | None = SAME) -> Report:
    """A PRIM that has served alone in this epoch."""
    return Report(state=State.PRIM, epoch=epoch, alone_epoch=epoch, generation=generation)


def test_the_engine_may_be_in_step_before_the_heartbeat_says_what_happened() -> None:
    view = absorb(BEFORE, EngineChanged(LINKED), 10.0)
    view = absorb(view, PeerHeard(Report(state=State.ALONE, epoch=7, alone_epoch=7)), 10.1)
    assert not copy_current(view), "the primary went on alone, and has not said yet that it ended"
    view = absorb(view, PeerHeard(prim(7)), 10.2)
    assert copy_current(view)


@pytest.mark.parametrize(("welcomed", "current"), [(7, True), (6, False)])
def test_a_primary_that_let_this_node_in_again_had_gone_on_alone_before(
    welcomed: int, current: bool
) -> None:
    """Told so late, the copy must not be marked: nothing would take the mark away."""
    view = absorb(BEFORE, EngineChanged(replace(LINKED, welcomed_epoch=welcomed)), 10.0)
    event = PeerHeard(Report(state=State.ALONE, epoch=7, alone_epoch=7))
    view = absorb(view, event, 10.1)
    assert copy_current(view) is current
    assert any(isinstance(action, Outdate) for action in step(view, event).do) is not current


def test_an_epoch_that_alone_begins_without_writing_alone_makes_no_copy_old() -> None:
    """A hand-over failed because it had gone on alone meanwhile; the second is in step again by
    then, and in an epoch of its own it goes on serving, with all that it writes on both nodes.
    """
    view = absorb(BEFORE, PeerHeard(Report(state=State.ALONE, epoch=7, alone_epoch=7)), 10.0)
    view = absorb(view, EngineChanged(replace(LINKED, welcomed_epoch=7)), 10.1)
    event = PeerHeard(Report(state=State.ALONE, epoch=8, alone_epoch=7))
    view = absorb(view, event, 10.2)
    assert copy_current(view)
    assert not any(isinstance(action, Outdate) for action in step(view, event).do)


def test_one_that_was_stopped_is_behind_until_its_primary_is_in_step_again() -> None:
    view = replace(BEFORE, peer_alone_epoch=3)
    view = absorb(view, PeerHeard(Report(state=State.PRIM, epoch=2)), 10.0)
    assert not copy_current(view)
    view = absorb(view, PeerHeard(prim(3)), 10.2)
    assert copy_current(view)


def test_a_prim_that_waits_for_a_second_that_never_got_the_copy_proves_nothing() -> None:
    """It lost this node at the very end of a resync, of which nothing had arrived here."""
    newer = Generation(current="0000000000000008", epoch=8)
    for generation in (newer, None):
        view = replace(BEFORE, peer_alone_epoch=8)
        view = absorb(view, PeerHeard(prim(8, generation)), 10.0)
        assert not copy_current(view)


def test_what_the_engine_said_before_it_went_on_alone_is_not_the_state_after() -> None:
    """The link came back in the moment of the decision, and the command then drops it: a hand-over
    now would be one to a copy without the last writes."""
    view = View(
        state=State.ALONE,
        epoch=7,
        alone_epoch=7,
        now_s=10.0,
        peer_heard_s=10.0,
        peer=Report(state=State.SECOND, epoch=3, generation=SAME),
    )
    said_before = Engine(
        role="primary", epoch=3, link_up=True, up_to_date=True, peer_up_to_date=True
    )
    for engine, state in [(said_before, State.ALONE), (replace(said_before, epoch=7), State.PRIM)]:
        event = EngineChanged(engine)
        assert step(absorb(view, event, 10.1), event).view.state is state
