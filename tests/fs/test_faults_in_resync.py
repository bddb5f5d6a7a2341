"""Every labelled effect is broken during a resync, on the source or on the target.

While it lasts the target is not up to date, and the application does not feel it (but for its own
disk's errors). When it is over, a resync ends with two identical copies; nobody has to help.
"""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.lanes import Lane, each
from tests.fs.plane import Plane
from tests.fs.test_faults import TABLE

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

EIO: Any = {"fail": {"errno": errno.EIO}}
# Of these some passes are struck only: with all of them the two could not even begin.
LINK = {"accept", "dial", "handshake", "send", "receive"}
# (Where `seek` fails, everything is taken for data, which is right.)
SOURCE = [
    "open_handle",
    "open_name",
    "identify",
    "stat",
    "read_directory",
    "read",
    "read_target",
    "list_xattr",
    "get_xattr",
    "send",
    "receive",
    "accept",
    "handshake",
    "state_create",
    "state_write",
    "state_sync",
    "state_rename",
    "state_sync_directory",
]
TARGET = [label for label in TABLE if set(TABLE[label]) & set("sSA") and label != "seek"]


@pytest.fixture
def lanes_home(home: Path) -> Iterator[Path]:
    yield home
    if str(home) not in Path("/proc/mounts").read_text():
        shutil.rmtree(home, ignore_errors=True)


# Without the map: a checkpoint could be under way when the second dies, and a resync would end
# before it says anything.
@pytest.mark.parametrize("pair", [{"faults": [], "dirty_map": False}], indirect=True)
def test_a_primary_that_waits_opens_when_the_second_has_marked_its_copy(pair: Pair) -> None:
    """Else the second would take its copy for current when the link breaks once more."""
    # There before the start, so no time of it is told later. Were anything under way when the
    # second dies, the primary would rightly wait for a decision.
    (pair.a.tree / "before").write_text("both have it")
    pair.start()
    pair.b.kill()
    pair.a.wait_status(frozen=True)
    assert pair.a.status()["pending_operations"] == 0
    written = threading.Event()

    def write() -> None:
        (pair.a.tree / "later").write_text("acknowledged")
        written.set()

    # It arrives while the gate is shut, so nothing of the old session waits.
    writer = threading.Thread(target=write)
    writer.start()
    try:
        pair.b.start()
        pair.b.command("faults", plan=[{"effect": "dial", "what": EIO}])
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.b.command("faults", plan=[{"effect": "state_write", "what": EIO}])
        pair.b.wait_until(lambda: sum(pair.b.command("faults")["faults"]["struck"]) > 1)
        assert not written.is_set() and pair.a.status()["frozen"]
        pair.b.command("faults", plan=[])
        assert written.wait(10)
        pair.in_sync(pair.a)
        same(pair)
    finally:
        if not written.is_set():
            pair.a.command("continue_alone", epoch=pair.next_epoch())
        writer.join(10)


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
def test_what_a_dead_primary_left_unfinished_is_copied_after_a_session_that_came_to_nothing(
    pair: Pair,
) -> None:
    """It serves again and wrote nothing since: the generations are the same, the data are not."""
    pair.start()
    (pair.a.tree / "before").write_text("both have it")
    pair.a.command("faults", plan=[{"effect": "send", "what": EIO}])
    writer = threading.Thread(target=attempt, args=(pair.a.tree / "unfinished",))
    writer.start()
    pair.a.wait_status(frozen=True)
    pair.a.wait_until(lambda: (pair.a.raw / "unfinished").exists())
    pair.b.command("faults", plan=[{"effect": "receive", "what": EIO}])
    pair.a.kill()
    writer.join(10)
    pair.a.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True, first=False)
    pair.b.wait_until(lambda: sum(pair.b.command("faults")["faults"]["struck"]) > 0)
    pair.b.command("faults", plan=[])
    pair.in_sync(pair.a)
    same(pair)


def attempt(path: Path) -> None:
    with suppress(OSError):
        path.write_text("never acknowledged")


def fall_behind(lane: Lane) -> None:
    """The second is away while its copy comes to lack and to have too much of everything."""
    tree = lane.primary.tree
    for _ in range(2):
        assert lane.workout.run() == {}
    lane.second.kill()
    lane.primary.wait_status(frozen=True)
    lane.primary.command("continue_alone", epoch=lane.pair.next_epoch())
    shutil.rmtree(tree / f"round {lane.workout.round - 1}")
    gone = f"round {lane.workout.round - 1}/"
    for name in [name for name in lane.workout.acknowledged if name.startswith(gone)]:
        lane.workout.acknowledged.pop(name)
    here = tree / f"round {lane.workout.round}"
    (here / "fifo").unlink()
    (here / "fifo").write_text("a file now")
    (here / "symbolic").unlink()
    (here / "symbolic").symlink_to("elsewhere")
    (here / "allocated").write_bytes(b"shorter")
    assert lane.workout.run() == {}
    lane.second.start()


def follow(lane: Lane) -> None:
    lane.second.command("become_secondary", epoch=lane.pair.epoch)


def broken(lane: Lane, label: str, node: str, what: Any) -> None:
    engine = lane.primary if node == "source" else lane.second
    fall_behind(lane)
    where = {"from": 3, "count": 2} if label in LINK else {}
    lane.arm(engine, label, what, **where)
    with Plane(lane.pair, lane.primary, lane.second):
        try:
            follow(lane)
        except Exception:
            assert label.startswith("state_"), "only the record's own disk may refuse the role"
        until = time.monotonic() + 4
        while not lane.struck(engine) and time.monotonic() < until:
            time.sleep(0.05)
        if lane.struck(engine) and label not in LINK:
            time.sleep(0.5)
            primary, second = lane.primary.status(), lane.second.status()
            same_data = second["generation"]["current"] == primary["generation"]["current"]
            assert not (second["up_to_date"] and same_data), "taken for a copy, but cannot be one"
            assert not primary["peer_up_to_date"]
        lane.heal(engine)
        if lane.second.status()["role"] != "secondary":
            follow(lane)
        lane.whole_again()


def source_fails(lane: Lane, label: str) -> None:
    broken(lane, label, "source", EIO)


def target_fails(lane: Lane, label: str) -> None:
    broken(lane, label, "target", EIO)


def target_is_full(lane: Lane, label: str) -> None:
    broken(lane, label, "target", {"fail": {"errno": errno.ENOSPC}})


def target_dies(lane: Lane, label: str) -> None:
    fall_behind(lane)
    lane.arm(lane.second, label, "kill", **{"from": 2})
    with Plane(lane.pair, lane.primary, lane.second):
        with suppress(OSError, ValueError):  # it may die of the role itself
            follow(lane)
        time.sleep(0.4)
        lane.restart_as_second(lane.second)
        lane.whole_again()


def test_a_source_whose_disk_fails_makes_no_false_copy(lanes_home: Path) -> None:
    each(lanes_home, SOURCE, source_fails)


def test_a_target_whose_disk_fails_is_no_copy(lanes_home: Path) -> None:
    each(lanes_home, TARGET, target_fails)


def test_a_target_whose_disk_is_full_is_no_copy(lanes_home: Path) -> None:
    each(lanes_home, ["write", "make", "set_xattr", "state_write"], target_is_full)


def test_a_target_that_dies_anywhere_is_resynchronised_again(lanes_home: Path) -> None:
    each(lanes_home, TARGET, target_dies)
