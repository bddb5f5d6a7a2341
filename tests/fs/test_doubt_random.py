"""Nothing that differs is left out of a resync that looks at a part, whatever happened before.

`TWOFOLD_SEEDS="7 8" .venv/bin/pytest -s -k of_these tests/fs/test_doubt_random.py` has those again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fs.absences import Absences

TIMES, FEW_TIMES = 4, 2


def play(home: Path, seed: int, times: int = TIMES) -> None:
    world = Absences(home, seed)
    try:
        world.run(times)
        print(f"seed {seed}: {world.parts} in parts, {world.wholes} whole; {world.told}")
    finally:
        world.close()
    # One file under several names has everything compared now and then.
    in_part = world.parts > 0 or world.links
    assert in_part, f"seed {seed}: every resync compared everything: {world.told}"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [2007, 2004])
def test_nothing_that_differs_is_left_out(home: Path, seed: int) -> None:
    play(home, seed, FEW_TIMES)


@pytest.mark.skipif("TWOFOLD_SEEDS" not in os.environ, reason="plays TWOFOLD_SEEDS")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [int(s) for s in os.environ.get("TWOFOLD_SEEDS", "").split()])
def test_of_these_seeds(home: Path, seed: int) -> None:
    play(home, seed)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1000, 1060))
def test_of_many_seeds(home: Path, seed: int) -> None:
    play(home, seed)
