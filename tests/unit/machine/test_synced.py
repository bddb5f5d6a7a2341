"""When a copy counts as current, whatever comes first: the engine's word or the heartbeat."""

from __future__ import annotations

from dataclasses import replace

from twofold.machine.events import EngineChanged, PeerHeard
from twofold.machine.model import Engine, Report, State, View, copy_current
from twofold.machine.step import absorb

LINKED = Engine(role="secondary", link_up=True, up_to_date=True)
BEFORE = replace(
    View(state=State.SECOND, peer_alone_epoch=1, synced_epoch=1),
    engine=replace(LINKED, link_up=False),
)


def test_the_engine_may_be_in_step_before_the_heartbeat_says_what_happened() -> None:
    view = absorb(BEFORE, EngineChanged(LINKED), 10.0)
    view = absorb(view, PeerHeard(Report(state=State.ALONE, epoch=7, alone_epoch=7)), 10.1)
    assert not copy_current(view), "the primary went on alone, and has not said yet that it ended"
    view = absorb(view, PeerHeard(Report(state=State.PRIM, epoch=7, alone_epoch=7)), 10.2)
    assert copy_current(view)


def test_one_that_was_stopped_is_behind_until_its_primary_is_in_step_again() -> None:
    view = replace(BEFORE, peer_alone_epoch=3)
    view = absorb(view, PeerHeard(Report(state=State.PRIM, epoch=2)), 10.0)
    assert not copy_current(view)
    view = absorb(view, PeerHeard(Report(state=State.PRIM, epoch=3, alone_epoch=3)), 10.2)
    assert copy_current(view)
