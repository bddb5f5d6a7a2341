"""A node that is brought back to an earlier moment, by a snapshot of its machine, has the map of
that moment. Whatever its map says, nothing that differs is left out."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.fs.absences import Absences
from tests.fs.compared import same
from tests.fs.engines import Engine

MIB = 1 << 20
NO_MORE_MS = 3_600_000


@pytest.fixture
def world(home: Path, request: pytest.FixtureRequest) -> Generator[Absences]:
    world = Absences(home, 1, checkpoint_every_ms=getattr(request, "param", 0))
    try:
        world.pair.a.wait_until(lambda: is_covered(world.pair.a), 30)
        yield world
    finally:
        world.close()


def is_covered(engine: Engine) -> bool:
    doubt = engine.status()["doubt"]
    return bool(doubt["base_is_known"]) and doubt["names"] == 0 and doubt["files"] == 0


def write(engine: Engine, text: bytes) -> None:
    """In a file that was not touched for long, and in a new one."""
    path = engine.tree / "big" / "b1"
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), text * 100, path.stat().st_size // 2)
    (engine.tree / "big" / text.decode()).write_bytes(text)


def returns(world: Absences, engine: Engine) -> None:
    engine.start()
    engine.command("become_secondary", epoch=world.pair.epoch)


def compared(world: Absences, primary: Engine, *, only_doubt: bool) -> None:
    world.pair.in_sync(primary)
    assert primary.status()["last_resync"]["only_doubt"] == only_doubt, world.pair.account()
    same(world.pair)


def test_a_second_from_before_a_checkpoint(world: Absences) -> None:
    a, b = world.pair.a, world.pair.b
    world.disks["b"].snapshot()
    write(a, b"later")
    a.wait_until(lambda: is_covered(a), 30)
    world.fall(b)
    world.disks["b"].bring_back()
    world.goes_on()
    returns(world, b)
    compared(world, a, only_doubt=False)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("world", [NO_MORE_MS], indirect=True)
def test_a_second_from_after_the_last_checkpoint_is_covered(world: Absences) -> None:
    a, b = world.pair.a, world.pair.b
    write(a, b"before")
    world.disks["b"].snapshot()
    write(a, b"later")
    world.fall(b)
    world.disks["b"].bring_back()
    world.goes_on()
    returns(world, b)
    compared(world, a, only_doubt=True)


@pytest.mark.parametrize(
    "world", [pytest.param(0, marks=pytest.mark.long), NO_MORE_MS], indirect=True
)
@pytest.mark.timeout(120)
def test_a_primary_whose_successor_has_more(world: Absences) -> None:
    """With a checkpoint after the snapshot, and with none."""
    a, b = world.pair.a, world.pair.b
    write(a, b"before")
    world.disks["a"].snapshot()
    write(a, b"later")
    if a.config["checkpoint_every_ms"] == 0:
        a.wait_until(lambda: is_covered(a), 30)
    world.fall(a)
    world.disks["a"].bring_back()
    b.wait_status(link="down")
    b.command("become_primary", epoch=world.pair.next_epoch(), alone=True)
    returns(world, a)
    compared(world, b, only_doubt=False)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("world", [NO_MORE_MS], indirect=True)
def test_a_primary_that_fell_with_what_it_had(world: Absences) -> None:
    """The sibling of the one above: no snapshot, so its map is believed."""
    a, b = world.pair.a, world.pair.b
    write(a, b"later")
    world.fall(a)
    b.wait_status(link="down")
    b.command("become_primary", epoch=world.pair.next_epoch(), alone=True)
    write(b, b"after")
    returns(world, a)
    compared(world, b, only_doubt=True)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_second_that_was_stopped_in_order_at_that_time(world: Absences) -> None:
    """Both say that they are equal, and its copy was closed in order; but it is an old one."""
    a, b = world.pair.a, world.pair.b
    b.stop()
    world.disks["b"].snapshot()
    world.goes_on()
    returns(world, b)
    world.pair.in_sync(a)
    write(a, b"later")
    a.wait_until(lambda: is_covered(a), 30)
    b.stop()
    world.disks["b"].bring_back()
    world.goes_on()
    returns(world, b)
    compared(world, a, only_doubt=False)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_both_from_the_same_night(world: Absences) -> None:
    """The snapshots of both were made one after the other, with changes between them."""
    a, b = world.pair.a, world.pair.b
    world.disks["a"].snapshot()
    write(a, b"between")
    world.disks["b"].snapshot()
    write(a, b"later")
    for node in (b, a):
        world.fall(node)
        world.disks[node.name].bring_back()
        node.start()
    a.command("become_primary", epoch=world.pair.next_epoch(), alone=False)
    b.command("become_secondary", epoch=world.pair.epoch)
    world.pair.in_sync(a)
    same(world.pair)
