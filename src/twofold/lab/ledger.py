"""Which writes were acknowledged, and how long the service was away. Pure; time is an argument.

A write counts from the moment its acknowledgement arrived at the client. The outage around an event
is the longest pause between two acknowledgements that touches the time from the event to the next
one: what a client of the service really felt, whatever the servers say about themselves.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Acknowledgements in the order they arrived: time (s, monotonic) and the number written."""

    times_s: list[float] = field(default_factory=list[float])
    numbers: list[int] = field(default_factory=list[int])

    def acknowledged(self, number: int, at_s: float) -> None:
        # Several writers report through pipes of their own, so order is restored here.
        if self.times_s and at_s < self.times_s[-1]:
            place = bisect_right(self.times_s, at_s)
            self.times_s.insert(place, at_s)
            self.numbers.insert(place, number)
        else:
            self.times_s.append(at_s)
            self.numbers.append(number)

    @property
    def count(self) -> int:
        return len(self.numbers)

    def count_until(self, at_s: float) -> int:
        return bisect_right(self.times_s, at_s)

    def last_s(self) -> float | None:
        return self.times_s[-1] if self.times_s else None

    def outage_s(self, event_s: float, until_s: float) -> float | None:
        """The longest pause that overlaps the event's time; None when nothing came after it."""
        first = max(0, bisect_left(self.times_s, event_s) - 1)
        last = bisect_right(self.times_s, until_s)
        times = self.times_s[first:last]
        if len(times) < 2 or times[-1] < event_s:
            return None
        return max(after - before for before, after in itertools.pairwise(times))

    def lost(self, found: Mapping[int, object]) -> list[int]:
        """Acknowledged numbers that are not among those found in the end."""
        return sorted(number for number in set(self.numbers) if number not in found)
