"""Writes are held back and let go, over and over, while files are made: nobody waits for ever.

A change of mode waits until no change is half done, and whatever wants to see the mode meanwhile
waits behind it. An answer that looked at the mode, given while its own change still held it, once
made an engine stand still for good.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair
from tests.fs.operations.unnamed import UNNAMED, give_name

pytestmark = pytest.mark.timeout(120)
POLICIES = pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
HOLDS = 400


def make_names(root: Path, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        place = root / f"{number % 50}"
        place.mkdir()
        descriptor = os.open(place, UNNAMED, 0o640)
        assert give_name(descriptor, place / "file") is None
        os.close(descriptor)
        os.close(os.open(place / "made", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.link(place / "made", place / "link")
        for name in ("file", "made", "link"):
            (place / name).unlink()
        place.rmdir()


def hold_and_let_go(engine: Engine, epoch: int) -> None:
    roots = [engine.tree / name for name in ("one", "two", "three")]
    for root in roots:
        root.mkdir()
    stop = threading.Event()
    makers = [threading.Thread(target=make_names, args=(root, stop)) for root in roots]
    for maker in makers:
        maker.start()
    try:
        for _ in range(HOLDS):
            engine.command("freeze", 10, epoch=epoch)
            engine.command("thaw", 10, epoch=epoch)
        assert all(maker.is_alive() for maker in makers), "one was refused, and ended"
    finally:
        stop.set()
        for maker in makers:
            maker.join(10)
    assert not any(maker.is_alive() for maker in makers), "a change is not answered"


@POLICIES
def test_with_a_second(pair: Pair) -> None:
    pair.start()
    hold_and_let_go(pair.a, pair.epoch)
    same(pair)


@POLICIES
def test_alone(pair: Pair) -> None:
    pair.a.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    hold_and_let_go(pair.a, pair.epoch)


@POLICIES
def test_a_second_that_shall_serve_while_somebody_tries_to_write_to_it(pair: Pair) -> None:
    """Its writes are held until the other follows, which never comes: then it is told to go on."""
    for number in range(3000):
        (pair.a.tree / f"{number}").touch()
    pair.start()
    for number in range(3000):
        (pair.b.tree / f"{number}").stat()  # so that the kernel knows them
    stop = threading.Event()

    def try_to_write(name: str) -> None:
        while not stop.is_set():
            with suppress(OSError):
                (pair.b.tree / name).touch()

    tries = [threading.Thread(target=try_to_write, args=(f"x{n}",), daemon=True) for n in range(3)]
    for each in tries:
        each.start()
    try:
        pair.a.command("become_secondary", epoch=pair.next_epoch())
        pair.a.kill()
        pair.b.command("become_primary", 5, epoch=pair.epoch, alone=False)
        assert pair.b.status()["frozen"]
        pair.b.command("continue_alone", 5, epoch=pair.next_epoch())
    finally:
        stop.set()
        for each in tries:
            each.join(10)
    assert not any(each.is_alive() for each in tries)
    assert (pair.b.tree / "x0").exists()


@POLICIES
def test_the_roles_change_while_others_look_and_try_to_write(pair: Pair) -> None:
    """A backup, a person: what they wait for may be what the change of role holds as it waits."""
    for number in range(300):
        (pair.a.tree / f"{number}").touch()
    pair.start()
    stop = threading.Event()

    def look(root: Path, first: int) -> None:
        number = first
        while not stop.is_set():
            number = (number + 1) % 300
            (root / f"{number}").stat()
            with suppress(OSError):
                (root / f"{number}").mkdir()
            with suppress(OSError):
                (root / f"made {first}").mkdir()

    trees = [pair.a.tree, pair.b.tree] * 3
    looks = [
        threading.Thread(target=look, args=(tree, 40 * n), daemon=True)
        for n, tree in enumerate(trees)
    ]
    for each in looks:
        each.start()
    primary, second = pair.a, pair.b
    try:
        for _ in range(12):
            primary.command("become_secondary", 10, epoch=pair.next_epoch())
            second.command("become_primary", 10, epoch=pair.epoch, alone=False)
            pair.in_sync(second, 20)
            primary, second = second, primary
        assert all(each.is_alive() for each in looks), "one was refused, and ended"
    finally:
        stop.set()
        for each in looks:
            each.join(10)
    assert not any(each.is_alive() for each in looks)
    same(pair)
