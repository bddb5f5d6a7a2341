"""A daemon on a machine with too much to do: it hears late, and of two sources in any order.

Some seeds have spells of it. Its dice are its own, so that a seed without it tells the story that
it always told; one that was kept before there was starvation has none.
"""

from __future__ import annotations

import random

from tests.sim.kept import from_before

SHARE = 0.15  # of the seeds
LAG_MAX_S = 1.5
MARK = "# since there is starvation\n"


class Starvation:
    """When a node's daemon is slow, and by how much at each of its awakenings."""

    def __init__(self, seed: int | str, node: str, first_s: float, end_s: float) -> None:
        self._dice = random.Random(f"{seed} {node} starved")
        self._spells = [self._spell(first_s, end_s) for _ in range(self._dice.randint(0, 3))]

    def _spell(self, first_s: float, end_s: float) -> tuple[float, float]:
        begun_s = self._dice.uniform(first_s, end_s)
        return begun_s, min(end_s, begun_s + self._dice.uniform(1.0, 10.0))

    def lag_s(self, now_s: float) -> float:
        if not any(begun_s <= now_s < end_s for begun_s, end_s in self._spells):
            return 0.0
        return self._dice.uniform(0.0, LAG_MAX_S) if self._dice.random() < 0.5 else 0.0


def is_starved(seed: int) -> bool:
    return seed not in from_before(MARK) and random.Random(f"{seed} starved").random() < SHARE
