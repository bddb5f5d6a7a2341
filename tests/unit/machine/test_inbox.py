"""Of the other node's word only the last waits; everything else keeps its order."""

from __future__ import annotations

from collections import deque

from twofold.machine.events import Event, Look, PeerHeard, TimerFired
from twofold.machine.inbox import enqueue
from twofold.machine.model import Report, State

OFFER = PeerHeard(Report(state=State.SECOND, epoch=2))
WITHDRAWN = PeerHeard(Report(state=State.ALONE, epoch=3))


def test_a_newer_heartbeat_takes_the_place_of_the_one_that_waits() -> None:
    waiting: deque[Event] = deque()
    for event in (Look(), OFFER, TimerFired(), WITHDRAWN, Look()):
        enqueue(waiting, event)
    assert list(waiting) == [Look(), WITHDRAWN, TimerFired(), Look()]


def test_other_events_are_never_dropped() -> None:
    waiting: deque[Event] = deque()
    for _ in range(3):
        enqueue(waiting, TimerFired())
    assert len(waiting) == 3
