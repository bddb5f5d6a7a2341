"""Sparse images in a resync: a hole is one question however long, so an image costs what it holds,
not its size; and whatever is written into holes meanwhile, both copies become equal.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs.engines import Pair
from tests.fs.operations.kernel import KEEP_SIZE, PUNCH_HOLE, allocate
from tests.vm.programs.sparse_digest import digest

pytestmark = pytest.mark.timeout(120)
GIB, MIB = 1 << 30, 1 << 20
END = 4097  # not the end of any zone


def make(image: Path, gib: int, seed: int) -> None:
    """Some data in a long hole, up to the last byte."""
    rng = random.Random(seed)
    with image.open("wb") as file:
        for _ in range(12):
            file.seek(rng.randrange(gib * GIB))
            file.write(rng.randbytes(rng.randrange(1, 300_000)))
        file.truncate(gib * GIB + END)
        file.seek(gib * GIB + END - 7)
        file.write(b"the end")


def same(pair: Pair, name: str) -> bool:
    """Of the data: where one has zeros, the other may have a hole."""
    return digest(str(pair.a.raw / name)) == digest(str(pair.b.raw / name))


def holes_against_data(pair: Pair, gib: int) -> float:
    """Either node has data where the other one has holes. The seconds of the resync."""
    for seed, engine in enumerate((pair.a, pair.b)):
        make(engine.tree / "image", gib, seed)
    pair.start()
    resync = pair.a.status()["last_resync"]
    print(f"{gib} GiB: {resync}")
    assert resync["bytes_looked_at"] < 128 * MIB, resync
    assert resync["bytes_sent"] < 8 * MIB, resync
    assert same(pair, "image")
    return float(resync["seconds"])


def test_a_hole_is_one_question_however_long(pair: Pair) -> None:
    assert holes_against_data(pair, 20) < 20


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_image_of_100_gib_costs_what_it_holds(pair: Pair) -> None:
    assert holes_against_data(pair, 100) < 10


def resync_beside(pair: Pair, change: Callable[[], None]) -> None:
    """One node is copied to the other while `change` is made again and again, a thousand times at
    most.
    """
    stop, changes = threading.Event(), 0

    def go_on() -> None:
        nonlocal changes
        while not stop.is_set() and changes < 1000:
            change()
            changes += 1
            time.sleep(0.001)

    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    changing = threading.Thread(target=go_on)
    changing.start()
    try:
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.in_sync(pair.a)
    finally:
        stop.set()
        changing.join(30)
    assert changes > 20, "it was not disturbed"
    pair.in_sync(pair.a)


def test_holes_that_are_written_to_while_they_are_compared(pair: Pair) -> None:
    names = [f"image-{n}" for n in range(6)]
    for n, name in enumerate(names):
        make(pair.a.tree / name, 4, n)
        make(pair.b.tree / name, 4, 100 + n)
    rng = random.Random(7)

    def write() -> None:
        with (pair.a.tree / rng.choice(names)).open("r+b", buffering=0) as file:
            file.seek(rng.randrange(4 * GIB))
            file.write(rng.randbytes(rng.choice([10, 5000, 70_000])))

    resync_beside(pair, write)
    for name in names:
        assert same(pair, name), name


def test_a_hole_that_is_sent_was_not_looked_at(pair: Pair) -> None:
    """A file system in the image gives back what it has freed while the image is compared: no
    answer about its layout counts then, and long holes are sent instead.
    """
    image = pair.a.tree / "image"
    for seed, engine in enumerate((pair.a, pair.b)):
        make(engine.tree / "image", 20, seed)

    def give_back() -> None:
        with image.open("r+b", buffering=0) as file:
            allocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 7 * GIB, MIB)

    resync_beside(pair, give_back)
    resync = pair.a.status()["last_resync"]
    assert resync["bytes_looked_at"] < 128 * MIB, resync
    assert same(pair, "image")
