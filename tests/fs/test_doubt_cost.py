"""What it costs to note what is touched: the same work on a pair with the dirty map and without.

`.venv/bin/pytest -m long -s tests/fs/test_doubt_cost.py` prints changes per second, rounds of both
pairs taken in turn. The first change of a part of a file waits for a sync on each node; a change
of what was touched lately does not.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.fs.engines import Pair
from tests.fs.test_doubt import covered

MIB = 1 << 20
GIB = 1 << 30
IMAGE_BYTES = 100 * GIB
ROUNDS = 3
BLOCK = os.urandom(4096)


def write_at(path: Path, offsets: list[int]) -> None:
    with path.open("r+b", buffering=0) as file:
        for offset in offsets:
            file.seek(offset)
            file.write(BLOCK)


def first_touches(root: Path, number: int) -> int:
    """Each in another MiB of a large image."""
    rng = random.Random(number)
    write_at(root / "image", [rng.randrange(IMAGE_BYTES // 4096) * 4096 for _ in range(300)])
    return 300


def touches_again(root: Path, number: int) -> int:
    """In 64 MiB, again and again."""
    rng = random.Random(number)
    write_at(root / "hot", [rng.randrange(64 * MIB // 4096) * 4096 for _ in range(5000)])
    return 5000


def written_through(root: Path, number: int) -> int:
    """A new file from its beginning to its end: MiB."""
    with (root / f"through {number}").open("wb", buffering=0) as file:
        for _ in range(128):
            file.write(BLOCK * 256)
    return 128


def creates(root: Path, number: int) -> int:
    """Small files in a new directory."""
    folder = root / f"d{number}"
    folder.mkdir()
    for name in range(1000):
        (folder / f"f{name}").write_bytes(BLOCK)
    return 1000


WORKS: tuple[Callable[[Path, int], int], ...] = (
    first_touches,
    touches_again,
    written_through,
    creates,
)


@pytest.fixture
def pairs(home: Path) -> Generator[dict[str, Pair]]:
    made = {how: Pair(home / how, dirty_map=how == "with") for how in ("with", "without")}
    try:
        for pair in made.values():
            for name, size in (("image", IMAGE_BYTES), ("hot", 64 * MIB)):
                with (pair.a.tree / name).open("wb") as file:
                    file.truncate(size)
            pair.start()
        made["with"].a.wait_until(lambda: covered(made["with"].a), 60)
        yield made
    finally:
        for pair in made.values():
            pair.close()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_what_the_map_costs(pairs: dict[str, Pair]) -> None:
    medians: dict[str, dict[str, float]] = {}
    for work in WORKS:
        rates: dict[str, list[float]] = {how: [] for how in pairs}
        for number in range(ROUNDS):
            for how, pair in pairs.items():
                begun_s = time.monotonic()
                done = work(pair.a.tree, number)
                rates[how].append(done / (time.monotonic() - begun_s))
        name = work.__name__
        medians[name] = {how: statistics.median(each) for how, each in rates.items()}
        print(f"{name}: {medians[name]['with']:.0f}/s with, {medians[name]['without']:.0f} without")
    again = medians["touches_again"]
    assert again["with"] > again["without"] / 2, "what was touched lately costs nothing more"
