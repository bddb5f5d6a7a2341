"""Files without a name stay on their node; with the first name the other node gets all of one."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.cut_disk import CutDisk
from tests.fs.engines import Engine, Pair
from tests.fs.operations.unnamed import UNNAMED, give_name

pytestmark = pytest.mark.timeout(120)
WITH_AND_WITHOUT_MAP = pytest.mark.parametrize(
    "pair", [{"dirty_map": True}, {"dirty_map": False}], indirect=True, ids=["map", "no map"]
)
CONTENT = random.Random(1).randbytes(3_000_000)


def unnamed(root: Path, content: bytes = CONTENT) -> int:
    descriptor = os.open(root, UNNAMED, 0o640)
    assert os.write(descriptor, content) == len(content)
    return descriptor


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def goes_alone(pair: Pair) -> None:
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())


def comes_back(pair: Pair) -> None:
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)


@WITH_AND_WITHOUT_MAP
def test_the_other_node_has_all_of_it_when_the_link_returns(pair: Pair) -> None:
    pair.start()
    descriptor = unnamed(pair.a.tree)
    assert list(pair.b.raw.iterdir()) == []
    assert give_name(descriptor, pair.a.tree / "name") is None
    assert (pair.b.raw / "name").read_bytes() == CONTENT
    os.pwrite(descriptor, b"and on", 5)
    assert (pair.b.raw / "name").read_bytes()[:11] == CONTENT[:5] + b"and on"
    os.link(pair.a.tree / "name", pair.a.tree / "second")
    os.close(descriptor)
    same(pair)
    assert (pair.b.raw / "second").stat().st_nlink == 2
    assert pair.a.status()["peer_up_to_date"]


@WITH_AND_WITHOUT_MAP
def test_a_name_is_given_while_the_other_node_is_away(pair: Pair) -> None:
    pair.start()
    before = unnamed(pair.a.tree)
    goes_alone(pair)
    within = unnamed(pair.a.tree)
    never = unnamed(pair.a.tree)
    later = unnamed(pair.a.tree)
    for descriptor, name in [(before, "before"), (within, "within")]:
        assert give_name(descriptor, pair.a.tree / name) is None
    comes_back(pair)
    pair.in_sync(pair.a)
    assert give_name(later, pair.a.tree / "later") is None
    for descriptor in (before, within, never, later):
        os.pwrite(descriptor, b"the end", len(CONTENT))
        os.close(descriptor)
    same(pair)
    assert {path.name for path in pair.b.raw.iterdir()} == {"before", "within", "later"}


@WITH_AND_WITHOUT_MAP
def test_names_are_given_in_a_resync(pair: Pair) -> None:
    root = pair.a.tree
    rng = random.Random(2)
    for number in range(30):
        (root / f"d{number % 5}").mkdir(exist_ok=True)
        (root / f"d{number % 5}" / f"f{number}").write_bytes(rng.randbytes(200_000))
    pair.start()
    goes_alone(pair)
    for number in range(30):
        with (root / f"d{number % 5}" / f"f{number}").open("r+b") as file:
            file.write(rng.randbytes(200_000))
    waiting = [unnamed(root, rng.randbytes(50_000)) for _ in range(40)]
    pair.a.command("set_resync_limit", bytes_per_s=2_000_000)
    comes_back(pair)
    pair.a.wait_until(lambda: pair.a.status()["resync"] is not None)
    for number, descriptor in enumerate(waiting):
        assert give_name(descriptor, root / f"d{number % 5}" / f"named {number}") is None
        os.pwrite(descriptor, b"and more", 100)
        os.link(
            root / f"d{number % 5}" / f"named {number}", root / f"d{(number + 1) % 5}" / f"{number}"
        )
    pair.a.command("set_resync_limit", bytes_per_s=None)
    for descriptor in waiting:
        os.pwrite(descriptor, b"the end", 60_000)
        os.close(descriptor)
    pair.in_sync(pair.a)
    same(pair)


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
def test_a_name_is_given_when_a_resync_is_about_to_end(pair: Pair) -> None:
    """It ends with a sync of this node's disk. A file that comes meanwhile is compared first, also
    if that takes longer than the sync."""
    pair.start()
    goes_alone(pair)
    (pair.a.tree / "changed").write_text("alone")
    descriptor = unnamed(pair.a.tree)
    pair.a.command("set_resync_limit", bytes_per_s=500_000)
    slow = {"effect": "sync_tree", "what": {"slow": {"ms": 2000}}, "count": 1}
    pair.a.command("faults", plan=[slow])
    comes_back(pair)
    pair.a.wait_until(lambda: sum(pair.a.command("faults")["faults"]["struck"]) > 0)
    assert give_name(descriptor, pair.a.tree / "named") is None
    os.close(descriptor)
    assert not pair.a.status()["peer_up_to_date"], "it still waits for the disk"
    pair.in_sync(pair.a)
    same(pair)


def dies_in_the_middle(pair: Pair, victim: Engine) -> None:
    """While the second has a part of a file that is given its name, one of the two is killed."""
    large = unnamed(pair.a.tree, CONTENT * 20)

    def name_it() -> None:
        with suppress(OSError):
            give_name(large, pair.a.tree / "folder" / "large")
        with suppress(OSError):
            os.close(large)

    naming = threading.Thread(target=name_it)
    naming.start()
    until = time.monotonic() + 20
    while not list((pair.b.raw / "folder").glob(".twofold-new-*")):
        assert time.monotonic() < until, "it was too quick"
    assert victim.process is not None
    victim.process.kill()
    if victim is pair.b:
        victim.kill()
        pair.a.wait_status(link="down")
        pair.a.command("continue_alone", epoch=pair.next_epoch())
    naming.join()


@WITH_AND_WITHOUT_MAP
def test_the_second_dies_while_it_gets_such_a_file(pair: Pair) -> None:
    (pair.a.tree / "folder").mkdir()
    pair.start()
    dies_in_the_middle(pair, pair.b)
    comes_back(pair)
    pair.in_sync(pair.a)
    same(pair)
    assert {path.name for path in (pair.b.raw / "folder").iterdir()} == {"large"}


@WITH_AND_WITHOUT_MAP
def test_the_primary_dies_while_it_tells_of_such_a_file(pair: Pair) -> None:
    (pair.a.tree / "folder").mkdir()
    pair.start()
    dies_in_the_middle(pair, pair.a)
    pair.a.kill()
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    assert list((pair.b.tree / "folder").iterdir()) == []
    pair.a.start()
    pair.a.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.b)
    same(pair)


@WITH_AND_WITHOUT_MAP
def test_one_writes_while_another_gives_the_name(pair: Pair) -> None:
    pair.start()
    before = pair.a.status()["last_resync"]
    for number in range(30):
        descriptor = unnamed(pair.a.tree, b"x" * 200_000)
        begun = threading.Event()

        def write(descriptor: int = descriptor, begun: threading.Event = begun) -> None:
            for step in range(40):
                os.pwrite(descriptor, b"%d" % step * 100, step * 5000)
                begun.set()

        writer = threading.Thread(target=write)
        writer.start()
        begun.wait(10)
        assert give_name(descriptor, pair.a.tree / str(number)) is None
        writer.join()
        os.close(descriptor)
    same(pair)
    assert pair.a.status()["peer_up_to_date"]
    assert pair.a.status()["last_resync"] == before, "the session went through"


@pytest.mark.parametrize("pair", [{"faults": [], "peer_timeout_ms": 1000}], indirect=True)
def test_a_large_file_may_take_the_other_disk_its_time(pair: Pair) -> None:
    """This node's disk may have had it long ago; the other's has all of it to write now."""
    pair.start()
    before = pair.a.status()["last_resync"]
    descriptor = unnamed(pair.a.tree, CONTENT * 20)
    os.fsync(descriptor)
    pair.b.command("faults", plan=[{"effect": "sync", "what": {"slow": {"ms": 4000}}}])
    begun = time.monotonic()
    assert give_name(descriptor, pair.a.tree / "large") is None
    assert time.monotonic() - begun > 4, "it waited for that disk"
    os.close(descriptor)
    assert pair.a.status()["link"] == "up"
    assert pair.a.status()["last_resync"] == before, "and did not take it for one that hangs"
    same(pair)


@pytest.fixture
def disks(home: Path) -> Iterator[tuple[Pair, CutDisk]]:
    """A pair whose second's tree lies on a disk of which the power can be cut."""
    pair = Pair(home / "pair", exclude=["*.tmp"], dirty_map=False)
    disk = CutDisk(home / "b.img", home / "disk")
    pair.b.tree = disk.place / "tree"
    pair.b.tree.mkdir()
    os.sync()
    pair.b.config["trees"] = [{"path": str(pair.b.tree)}]
    try:
        yield pair, disk
    finally:
        pair.close()
        disk.unmount()
        shutil.rmtree(home, ignore_errors=True)


def loses_power(engine: Engine, disk: CutDisk) -> None:
    engine.kill()
    engine.unmount()
    disk.cut()
    disk.unmount()
    disk.mount()


def test_what_was_synced_without_a_name_is_on_both_disks_with_it(
    disks: tuple[Pair, CutDisk],
) -> None:
    pair, disk = disks
    pair.start()
    descriptor = unnamed(pair.a.tree)
    os.fsync(descriptor)
    assert give_name(descriptor, pair.a.tree / "name") is None
    sync_directory(pair.a.tree)
    loses_power(pair.b, disk)
    assert (disk.place / "tree" / "name").read_bytes() == CONTENT
    os.close(descriptor)


def test_what_was_synced_under_a_name_that_stays_here_is_on_both_disks_after_the_rename(
    disks: tuple[Pair, CutDisk],
) -> None:
    """As programs save a file, with its temporary name excluded."""
    pair, disk = disks
    (pair.a.tree / "file").write_bytes(b"old")
    pair.start()
    with (pair.a.tree / "file.tmp").open("wb") as file:
        file.write(CONTENT)
        file.flush()
        os.fsync(file.fileno())
    (pair.a.tree / "file.tmp").rename(pair.a.tree / "file")
    sync_directory(pair.a.tree)
    loses_power(pair.b, disk)
    assert (disk.place / "tree" / "file").read_bytes() == CONTENT
