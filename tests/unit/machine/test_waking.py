"""A node that slept believes nothing that may be long over, whoever said it and when it arrives."""

from __future__ import annotations

from dataclasses import replace

from twofold.machine.actions import BecomePrimary, BecomeSecondary
from twofold.machine.events import Event, Found, Look, PeerHeard
from twofold.machine.model import Engine, Generation, Offer, Report, State, View
from twofold.machine.step import LISTEN_S, STALLED_S, Decision, absorb, step

COPY = Engine(
    role="secondary",
    epoch=2,
    up_to_date=True,
    link_up=True,
    generation=Generation(current="1", base="1", role="secondary", epoch=2),
)
OFFER = Report(state=State.SECOND, epoch=2, offer=Offer.SWAP, offer_epoch=2)
ASLEEP = View(state=State.SECOND, now_s=10.0, epoch=2, peer_heard_s=10.0, engine=COPY, peer=OFFER)


def decided(view: View, event: Event, now_s: float) -> Decision:
    return step(absorb(view, event, now_s), event)


def serves(decision: Decision) -> bool:
    return any(isinstance(action, BecomePrimary) for action in decision.do)


def test_an_offer_is_taken_at_once_by_a_node_that_is_awake() -> None:
    assert serves(decided(ASLEEP, Look(), 10.1))


def test_an_offer_of_before_the_sleep_is_not_taken() -> None:
    assert not serves(decided(ASLEEP, Look(), 10.0 + 2 * STALLED_S))


def test_an_offer_that_waited_for_the_sleeper_is_not_taken_until_it_has_listened() -> None:
    """The kernel keeps some heartbeats for a stopped process: they are as old as its sleep."""
    woken = 10.0 + 2 * STALLED_S
    without = replace(ASLEEP, peer=replace(OFFER, offer=None))
    first = decided(without, PeerHeard(OFFER), woken)
    assert not serves(first)
    withdrawn = decided(first.view, PeerHeard(Report(state=State.ALONE, epoch=3)), woken + 0.1)
    assert not serves(withdrawn)
    still = decided(first.view, PeerHeard(OFFER), woken + LISTEN_S + 0.1)
    assert serves(still), "one that is still in force is taken when it is heard again"


def test_what_the_peer_granted_before_the_sleep_is_granted_no_more() -> None:
    claiming = replace(
        ASLEEP, state=State.WAIT, claim=7, peer=Report(state=State.WAIT, grants=7, leaving=True)
    )
    woken = absorb(claiming, Look(), 10.0 + 2 * STALLED_S)
    assert woken.peer is not None
    assert (woken.peer.grants, woken.peer.leaving, woken.peer.busy) == (0, False, True)


SERVES = Engine(
    role="primary",
    epoch=3,
    generation=Generation(current="2", base="1", role="primary", epoch=3),
)
SURVIVOR = replace(ASLEEP, state=State.ALONE, epoch=3, engine=SERVES, peer_heard_s=-100.0)


def test_a_survivor_that_slept_does_not_take_its_dead_primary_for_one_that_serves() -> None:
    """The last that was heard of it was that it serves; and who wakes calls nobody silent yet."""
    survivor = replace(SURVIVOR, peer=Report(state=State.PRIM, epoch=2))
    woken = decided(survivor, Look(), 10.0 + 2 * STALLED_S)
    assert not woken.view.split_seen and not woken.do


def test_a_survivor_that_slept_tells_of_another_that_serves_when_it_has_listened() -> None:
    woken_s = 10.0 + 2 * STALLED_S
    other = Report(state=State.PRIM, epoch=2)
    first = decided(SURVIVOR, PeerHeard(other), woken_s)
    assert not first.view.split_seen
    assert decided(first.view, PeerHeard(other), woken_s + LISTEN_S + 0.1).view.split_seen


def test_a_daemon_that_finds_its_engine_standing_still_tells_it_to_follow() -> None:
    """It may have died on the way to a stop, when the engine was told not to follow any more."""
    view = View(now_s=1.0, epoch=3)
    decision = decided(view, Found(COPY), 1.0)
    assert decision.view.state is State.SECOND
    assert [a.follow for a in decision.do if isinstance(a, BecomeSecondary)] == [True]
