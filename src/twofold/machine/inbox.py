"""What waits to be decided, in order; of the other node's word only the last.

A machine that was suspended, or a daemon that was stopped, finds a row of heartbeats in its socket
when it goes on. Each tells the other node's whole state, so a newer one makes those before it
untrue: to decide on the first would be to act on an offer that was withdrawn long ago. The newest
therefore takes the place of the one that waits.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from twofold.machine.events import PeerHeard

T = TypeVar("T")


def enqueue(waiting: deque[T], event: T) -> None:
    """Add an event; a `PeerHeard` replaces the one that waits, if one does."""
    if isinstance(event, PeerHeard):
        for place, other in enumerate(waiting):
            if isinstance(other, PeerHeard):
                waiting[place] = event
                return
    waiting.append(event)
