"""The simulation as a test: kept seeds, then the first ones in order, about a minute of them.

A fixed number, so that a fast machine does not meet a seed that a slow one never reached; with
`make sim` one goes on from there.
"""

from __future__ import annotations

import argparse

import pytest

from tests.sim.__main__ import at_least_one
from tests.sim.kept import kept
from tests.sim.many import run
from tests.sim.planted import FOUND_WITHIN, PLANTS
from tests.sim.run import play

SEEDS = 3000


@pytest.mark.parametrize("seed", kept())
def test_a_kept_seed_holds_every_promise(seed: int) -> None:
    outcome = play(seed)
    assert not outcome.failed, f"{outcome.failed}\nread it with: make sim SEED={seed}"


@pytest.mark.parametrize("text", ["0", "-5", "ten", ""])
def test_a_run_of_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number from 1 on"):
        at_least_one(text)


@pytest.mark.timeout(400)
def test_every_promise_holds_over_many_seeds() -> None:
    tally = run(0, lambda t: t.seeds >= SEEDS, jobs=2)
    assert tally.failed == [], "read one with: make sim SEED=n"


def test_a_seed_tells_the_same_story_twice() -> None:
    first, again = play(7, telling=True), play(7, telling=True)
    assert first.story == again.story
    assert len(first.story) > 10


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.timeout(600)
def test_a_planted_fault_is_found(plant: str) -> None:
    if play(PLANTS[plant], plant=plant).failed:
        return
    tally = run(0, lambda t: bool(t.failed), jobs=2, plant=plant, count_max=FOUND_WITHIN)
    assert tally.failed, f"{FOUND_WITHIN} seeds do not find: {plant}"
