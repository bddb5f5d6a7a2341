"""How long the service is away, twenty times each: after a power cut and in an orderly swap.

Long: on a machine that does other work as well, the figures would say nothing. The client writes
all the time; what counts is its longest pause between two acknowledged rows. The table of
docs/internals/failures.md comes from what is printed here (`pytest -s -m long`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(1800),
]

RUNS = 20
CUT_BOUND_S = 4.0
SWAP_BOUND_S = 1.0


def measured(pair: Pair, what: str, once: Callable[[], float], bound_s: float) -> None:
    pauses_s: list[float] = []
    for _ in range(RUNS):
        pair.whole()
        pair.calm()
        pauses_s.append(once())
    low, middle, high = min(pauses_s), statistics.median(pauses_s), max(pauses_s)
    print(f"| {what} | {RUNS} | {low:.2f} s | {middle:.2f} s | {high:.2f} s |")
    pair.whole()
    pair.nothing_lost()
    assert high < bound_s, sorted(pauses_s)


def test_twenty_power_cuts(pair: Pair) -> None:
    def once() -> float:
        old = pair.primary()
        event_s = time.monotonic()
        pair.lab.kill(old)
        pause_s = pair.outage_s(event_s, partial(pair.serves, other(old)))
        pair.lab.start(old)
        return pause_s

    measured(pair, "power cut of the primary", once, CUT_BOUND_S)


def test_twenty_swaps(pair: Pair) -> None:
    def once() -> float:
        old = pair.primary()
        event_s = time.monotonic()
        pair.twofold(old, "swap", pair.module)
        return pair.outage_s(event_s, partial(pair.serves, other(old)))

    measured(pair, "orderly swap", once, SWAP_BOUND_S)
