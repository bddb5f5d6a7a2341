"""A person has everything compared: what nothing else would have found is found."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair, Refused
from tests.fs.test_doubt import comes_back, covered, fill, goes_alone, last

WITH: dict[str, Any] = {"faults": [], "dirty_map": True}
WITHOUT: dict[str, Any] = {"dirty_map": False}
with_map = pytest.mark.parametrize("pair", [WITH], indirect=True)
# Writes wait for the time of a handshake.
LONGEST_WAIT_S = 2.0


def damage(copy: Path) -> None:
    """Behind the engines' back, and so that only the contents tell."""
    path = copy / "d1" / "deep" / "f1"
    times = path.stat()
    path.write_bytes(b"x" * times.st_size)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def begin(pair: Pair) -> None:
    fill(pair.a.tree)
    pair.start()
    if pair.a.config["dirty_map"]:
        pair.a.wait_until(lambda: covered(pair.a), 30)


def write_until(path: Path, stop: threading.Event, waits_s: list[float]) -> None:
    while not stop.is_set():
        begun = time.monotonic()
        path.write_bytes(b"%d" % len(waits_s))
        waits_s.append(time.monotonic() - begun)


@pytest.mark.parametrize("pair", [WITH, WITHOUT], indirect=True)
def test_everything_is_compared_although_both_say_that_they_are_equal(pair: Pair) -> None:
    begin(pair)
    damage(pair.b.raw)
    stop, waits_s = threading.Event(), list[float]()
    path = pair.a.tree / "busy"
    writer = threading.Thread(target=write_until, args=(path, stop, waits_s), daemon=True)
    writer.start()
    try:
        resyncs = pair.a.status()["counters"]["resyncs"]
        assert pair.a.command("resync")["begins"] == "now"
        pair.a.wait_until(lambda: pair.a.status()["counters"]["resyncs"] > resyncs)
        pair.in_sync(pair.a)
    finally:
        stop.set()
        writer.join(20)
    assert not writer.is_alive()
    assert len(waits_s) > 10
    assert max(waits_s) < LONGEST_WAIT_S
    assert not last(pair.a)["only_doubt"]
    same(pair)
    # It was asked for once.
    pair.b.stop()
    pair.a.wait_status(link="down")
    resyncs = pair.a.status()["counters"]["resyncs"]
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    assert pair.a.status()["counters"]["resyncs"] == resyncs


def come_and_go(root: Path, stop: threading.Event, rounds: list[int]) -> None:
    """Files that the kernel forgets all the time, of which the second is told then."""
    root.mkdir()
    while not stop.is_set():
        for number in range(20):
            (root / f"{number}").write_bytes(b"x")
        for number in range(20):
            (root / f"{number}").unlink()
        rounds.append(1)


@with_map
def test_it_begins_at_once_whatever_the_kernel_forgets_meanwhile(pair: Pair) -> None:
    """Nobody has to say how to go on: no write is under way, and everything will be compared."""
    pair.start()
    stop, rounds = threading.Event(), list[int]()
    workers = [
        threading.Thread(
            target=come_and_go, args=(pair.a.tree / f"{number}", stop, rounds), daemon=True
        )
        for number in range(4)
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in range(25):
            begun, resyncs = len(rounds), pair.a.status()["counters"]["resyncs"]
            pair.a.command("resync")
            wait = pair.a.wait_until
            wait(lambda had=resyncs: pair.a.status()["counters"]["resyncs"] > had, 10)
            pair.in_sync(pair.a, 10)
            pair.a.wait_until(lambda begun=begun: len(rounds) > begun, 5)
    finally:
        stop.set()
        for worker in workers:
            worker.join(20)
    assert not any(worker.is_alive() for worker in workers)
    same(pair)


@with_map
def test_a_node_that_is_away_is_compared_whole_when_it_comes(pair: Pair) -> None:
    begin(pair)
    pair.b.stop()
    goes_alone(pair)
    assert pair.a.command("resync")["begins"] == "later"
    damage(pair.b.tree)
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    same(pair)


@with_map
def test_it_begins_anew_where_one_runs(pair: Pair) -> None:
    begin(pair)
    pair.b.kill()
    goes_alone(pair)
    (pair.a.tree / "big").write_bytes(os.urandom(4 << 20))
    damage(pair.b.tree)
    pair.a.command("set_resync_limit", bytes_per_s=1 << 20)
    comes_back(pair, pair.b)
    pair.a.wait_until(lambda: pair.a.status()["resync"] is not None)
    assert pair.a.command("resync")["begins"] == "now"
    pair.a.command("set_resync_limit", bytes_per_s=None)
    pair.in_sync(pair.a)
    assert not last(pair.a)["only_doubt"]
    same(pair)


@with_map
def test_it_is_refused_where_nothing_is_sent_from(pair: Pair) -> None:
    begin(pair)
    with pytest.raises(Refused) as refused:
        pair.b.command("resync")
    assert refused.value.code == "not_primary"
    pair.a.command("freeze", epoch=pair.next_epoch())
    with pytest.raises(Refused) as refused:
        pair.a.command("resync")
    assert refused.value.code == "busy"
    pair.a.command("thaw", epoch=pair.epoch)
    same(pair)
