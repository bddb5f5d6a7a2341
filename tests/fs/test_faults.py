"""Every labelled effect is broken, on either node, live: the promises hold all the same.

The table says where a label is passed while an application works; `test_the_table_is_whole`
compares it with the engine's own list. What is passed in a resync only is in
`test_faults_in_resync`.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import PEER_TIMEOUT_MS, Pair, Refused
from tests.fs.lanes import Lane, each
from tests.fs.plane import Plane

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
# A freeze is as long as the peer may be silent, and the control plane needs a moment.
FREEZE_LIMIT_S = PEER_TIMEOUT_MS / 1000 + 2.0
EIO: Any = {"fail": {"errno": errno.EIO}}

# Who passes a label: p, s: primary and second, live; P, S: in a resync (told only where it is not
# passed live); A: at a change of role; D: where diverged data is saved; K: where a copy is
# kept; 0: before anything is served; M: where the dirty map covers.
TABLE: dict[str, str] = {
    "open_root": "0",
    "open_handle": "ps",
    "open_name": "ps",
    "identify": "ps",
    "stat": "ps",
    "stat_file_system": "p",
    "seek": "pPS",
    "read_directory": "pPS",
    "read_target": "pPS",
    "get_xattr": "pPS",
    "list_xattr": "pPS",
    "read": "pPS",
    "write": "ps",
    "truncate": "ps",
    "allocate": "ps",
    "make": "ps",
    "link": "ps",
    "unlink": "ps",
    "rename": "ps",
    "set_owner": "ps",
    "set_mode": "ps",
    "set_times": "ps",
    "set_xattr": "ps",
    "remove_xattr": "ps",
    "sync": "ps",
    "sync_tree": "S",
    "state_read": "0",
    "state_create": "A",
    "state_write": "A",
    "state_sync": "A",
    "state_rename": "A",
    "state_sync_directory": "A",
    # As soon as a checkpoint stands behind everything: their tests are with the map.
    "map_write": "M",
    "map_sync": "M",
    "map_remove": "M",
    # Where a copy is kept in shared blocks: its tests are with it.
    "clone": "K",
    # Where diverged data gives way: its tests are with it.
    "rescue_make": "D",
    "rescue_read": "D",
    "rescue_write": "D",
    "rescue_sync": "D",
    "rescue_rename": "D",
    "rescue_remove": "D",
    "accept": "P",
    "dial": "S",
    "handshake": "PS",
    "send": "ps",
    "receive": "ps",
}
# A failed call on the link is no failure of a disk: the link comes back as after a cut.
LINK = {"accept", "dial", "handshake", "send", "receive"}


def live(node: str) -> list[str]:
    return [label for label, where in TABLE.items() if node in where]


@pytest.fixture
def lanes_home(home: Path) -> Iterator[Path]:
    yield home
    if str(home) not in Path("/proc/mounts").read_text():
        shutil.rmtree(home, ignore_errors=True)


def test_the_table_is_whole() -> None:
    source = (ROOT / "crates/mirror-fs/src/effect.rs").read_text()
    block = source[source.index("labels! {") : source.index("/// What happens at an effect")]
    labels = re.findall(r"^    (\w+),$", block, re.MULTILINE)
    names = {re.sub(r"(?<!^)([A-Z])", r"_\1", label).lower() for label in labels}
    assert names == set(TABLE)


def test_without_the_option_faults_are_refused(pair: Pair) -> None:
    pair.a.start()
    with pytest.raises(Refused) as caught:
        pair.a.command("faults", plan=[])
    assert caught.value.code == "refused"


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
def test_a_time_that_could_not_be_read_is_told_later(pair: Pair) -> None:
    """Nobody waits for the modification time of a written file, so nobody would hear of it."""
    pair.start()
    with (pair.a.tree / "file").open("wb", buffering=0) as file:
        file.write(b"x")
        plan = [{"effect": "open_handle", "what": EIO, "from": 1, "count": 3}]
        pair.a.command("faults", plan=plan)
        file.write(b"y")
        pair.a.wait_until(lambda: sum(pair.a.command("faults")["faults"]["struck"]) == 3)
        pair.a.command("faults", plan=[])
        failed = pair.a.status()["failed"]
        assert failed and failed["what"] == "io_error", failed
        same(pair)


def second_fails(lane: Lane, label: str) -> None:
    with Plane(lane.pair, lane.primary, lane.second) as plane:
        lane.arm(lane.second, label, EIO, count=1)
        assert lane.workout.run() == {}, "the application must not feel the other node's disk"
        assert lane.workout.longest_s < FREEZE_LIMIT_S
        assert lane.struck(lane.second), "the table says that the label is passed"
        if label not in LINK:
            lane.primary.wait_until(lambda: plane.went_alone > 0, 5)
            status = lane.second.status()
            assert not status["up_to_date"] and status["failed"], status
            failed = lane.primary.status()["failed"]
            assert failed and failed["what"] == "peer_apply", failed
        lane.heal(lane.second)
        lane.whole_again()


def primary_fails(lane: Lane, label: str) -> None:
    with Plane(lane.pair, lane.primary, lane.second):
        for where in ({"count": 1}, {"from": 3, "count": 1}, {}):
            lane.arm(lane.primary, label, EIO, **where)
            errors = lane.workout.run()
            if where == {"count": 1}:
                assert lane.struck(lane.primary), "the table says that the label is passed"
            # What a failed step did not make, a later one does not find.
            assert set(errors.values()) <= {errno.EIO, errno.ENOENT, errno.ENXIO}, errors
            if errno.EIO in errors.values():
                failed = lane.primary.status()["failed"]
                assert failed and failed["what"] in ("io_error", "peer_apply"), failed
            lane.heal(lane.primary)
        assert lane.workout.run() == {}, "the disk works again"
        lane.whole_again()
    # Handed over and served by the other, whose copy is sound: this one is made equal to it.
    lane.primary.command("become_secondary", epoch=lane.pair.next_epoch())
    lane.swap()
    lane.primary.command("become_primary", epoch=lane.pair.next_epoch(), alone=False)
    lane.whole_again()
    assert lane.second.status()["failed"] is None


def second_hangs(lane: Lane, label: str) -> None:
    with Plane(lane.pair, lane.primary, lane.second):
        lane.arm(lane.second, label, "hang")
        assert lane.workout.run() == {}
        assert lane.workout.longest_s < FREEZE_LIMIT_S, "the primary froze for longer"
        assert lane.struck(lane.second)
        lane.heal(lane.second)
        lane.whole_again()


def primary_is_slow(lane: Lane, label: str) -> None:
    """A disk that takes longer than the peer's time-out is no lost peer."""
    with Plane(lane.pair, lane.primary, lane.second) as plane:
        ms = 100 if label in LINK else PEER_TIMEOUT_MS + 500
        lane.arm(lane.primary, label, {"slow": {"ms": ms}}, count=1)
        assert lane.workout.run() == {}
        assert plane.went_alone == 0
        lane.heal(lane.primary)
        lane.whole_again()


def second_is_killed(lane: Lane, label: str) -> None:
    with Plane(lane.pair, lane.primary, lane.second):
        lane.arm(lane.second, label, "kill", **{"from": 2})
        assert lane.workout.run() == {}
        lane.restart_as_second(lane.second)
        lane.whole_again()


def primary_is_killed(lane: Lane, label: str) -> None:
    lane.arm(lane.primary, label, "kill", **{"from": 2})
    lane.workout.run()
    lane.primary.kill()
    lane.second.wait_status(link="down")
    lane.swap()
    lane.primary.command("become_primary", epoch=lane.pair.next_epoch(), alone=True)
    assert not (missing := lane.workout.missing(lane.primary.tree)), missing
    lane.restart_as_second(lane.second)
    lane.whole_again()


def everything_is_cut_in_half(lane: Lane, label: str) -> None:
    for engine in (lane.primary, lane.second):
        lane.arm(engine, label, "half")
    begun = time.monotonic()
    assert lane.workout.run() == {}
    for engine in (lane.primary, lane.second):
        lane.heal(engine)
    lane.whole_again()
    assert time.monotonic() - begun < 20


def test_an_error_of_the_second_is_not_the_applications(lanes_home: Path) -> None:
    each(lanes_home, live("s"), second_fails)


def test_an_error_of_the_primary_is_the_applications_and_nothing_is_sent(lanes_home: Path) -> None:
    each(lanes_home, live("p"), primary_fails)


def test_a_second_that_hangs_freezes_no_longer_than_its_timeout(lanes_home: Path) -> None:
    each(lanes_home, live("s"), second_hangs)


def test_a_second_that_dies_anywhere_comes_back_whole(lanes_home: Path) -> None:
    each(lanes_home, live("s"), second_is_killed)


def test_a_primary_that_dies_anywhere_has_lost_nothing(lanes_home: Path) -> None:
    each(lanes_home, live("p"), primary_is_killed)


def test_a_slow_disk_is_no_lost_peer(lanes_home: Path) -> None:
    each(lanes_home, ["write", "sync", "make", "open_handle", "stat", "send"], primary_is_slow)


def test_what_is_cut_in_half_is_gone_on_with(lanes_home: Path) -> None:
    each(lanes_home, ["read", "write", "send", "receive"], everything_is_cut_in_half)
