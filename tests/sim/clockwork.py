"""Time, chance and processes of a simulated world: one heap of moments, one dice, one story.

Nothing here waits: time jumps from moment to moment. What is to happen belongs to a `Process`; when
that is dead it does not happen, while it is stopped (SIGSTOP) it is kept and happens when it goes
on. The story is written only when somebody wants to read it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

Call = Callable[..., None]


class Process:
    """What can be killed and stopped."""

    def __init__(self) -> None:
        self.alive = True
        self.stopped = False
        self.kept: list[tuple[Call, tuple[Any, ...]]] = []


class Clockwork:
    def __init__(self, seed: int | str, telling: bool = False) -> None:
        self.now_s = 0.0
        self.dice = random.Random(seed)
        self.telling = telling
        self.story: list[str] = []
        self.steps = 0
        self._heap: list[tuple[float, int, Process | None, Call, tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def after(self, delay_s: float, of: Process | None, call: Call, *args: Any) -> None:
        entry = (self.now_s + delay_s, next(self._numbers), of, call, args)
        heapq.heappush(self._heap, entry)

    def next(self, until_s: float) -> tuple[Process | None, Call, tuple[Any, ...]] | None:
        """The next thing to do before `until_s`; time has come to it."""
        heap = self._heap
        if not heap or heap[0][0] > until_s:
            self.now_s = until_s
            return None
        at_s, _, of, call, args = heapq.heappop(heap)
        self.now_s = at_s
        self.steps += 1
        return of, call, args

    def chance(self, probability: float) -> bool:
        return self.dice.random() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.dice.random()

    def write(self, line: str) -> None:
        if self.telling:
            self.story.append(f"{self.now_s:8.3f}  {line}")
