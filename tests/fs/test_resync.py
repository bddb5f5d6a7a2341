"""Resync while the application writes: whatever was on the other side, both copies become equal."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair
from tests.fs.load import RandomLoad
from tests.fs.plane import Plane

pytestmark = pytest.mark.timeout(120)


@contextmanager
def loaded(root: Path, seed: int) -> Generator[RandomLoad]:
    """Random changes of all kinds by two threads, while the block runs."""
    loads = [RandomLoad(root, seed * 2 + n) for n in (0, 1)]
    stop = threading.Event()
    threads = [threading.Thread(target=load.run_until, args=(stop,)) for load in loads]
    for thread in threads:
        thread.start()
    try:
        yield loads[0]
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "a change is not answered"
    for load in loads:
        assert load.broken is None, load.broken


def fill(root: Path, seed: int, count: int = 300) -> None:
    load = RandomLoad(root, seed)
    for _ in range(count):
        load.step()


def test_first_resync_of_a_tree_with_everything_in_it(pair: Pair) -> None:
    tree = pair.a.tree
    fill(tree, 1)
    (tree / "dir with spaces").mkdir()
    (tree / "bytes").mkdir()
    Path(os.fsdecode(os.fsencode(tree / "bytes") + b"/\xff\xfe\n")).write_text("any byte")
    (tree / "link").symlink_to("nowhere/" + "x" * 200)
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o20666, os.makedev(1, 3))
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(700 << 20)
        file.write(b"data far out")
    os.setxattr(tree / "sparse", "user.note", b"\x00\x01")
    os.setxattr(tree / "sparse", "trusted.note", b"t")
    os.chown(tree / "sparse", 1234, 4321)
    (tree / "sparse").chmod(0o4751)
    os.link(tree / "sparse", tree / "bytes" / "another name")
    os.utime(tree / "dir with spaces", ns=(1, 1_234_567_890_123_456_789))
    # What stands in the way on the other side.
    (pair.b.tree / "link").mkdir()
    (pair.b.tree / "link" / "inside").write_text("x")
    (pair.b.tree / "fifo").write_text("a file")
    (pair.b.tree / "extra").mkdir()
    (pair.b.tree / "extra" / "gone").write_text("x")
    fill(pair.b.tree, 2)
    pair.start()
    same(pair)
    assert (pair.b.raw / "sparse").stat().st_blocks < 4096, "holes stay holes"
    assert not (pair.b.raw / ".twofold-aside").exists()


@pytest.mark.parametrize("seed", range(6))
def test_a_resync_under_load_ends_with_equal_copies(pair: Pair, seed: int) -> None:
    fill(pair.a.tree, seed + 100)
    fill(pair.b.tree, seed + 200)
    (pair.a.tree / "large").write_bytes(random.Random(seed).randbytes(30 << 20))
    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    with loaded(pair.a.tree, seed):
        time.sleep(0.2)
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.in_sync(pair.a)
        time.sleep(0.3)
    same(pair)


@pytest.mark.parametrize("pair", [{"resync_limit_bytes_per_s": 1 << 20}], indirect=True)
def test_names_that_go_during_a_resync_leave_the_other_names_of_their_files(pair: Pair) -> None:
    """The second moves aside what goes; at the end it must know what lives on, and what is open."""
    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    tree = pair.a.tree
    (tree / "large").write_bytes(random.Random(1).randbytes(3 << 20))
    (tree / "one").symlink_to("nowhere")
    os.mkfifo(tree / "fifo one")
    (tree / "file one").write_text("held")
    for name in ("", "fifo ", "file "):
        os.link(tree / f"{name}one", tree / f"{name}two", follow_symlinks=False)
    with (tree / "file one").open("r+b", buffering=0) as held:
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.a.wait_until(lambda: (pair.b.raw / "two").is_symlink())
        for name in ("two", "fifo two", "file one", "file two"):
            (tree / name).unlink()
        assert pair.a.status()["resync"], "it ended too soon to prove anything"
        pair.in_sync(pair.a)
        with Plane(pair, pair.a, pair.b):
            os.link(tree / "one", tree / "three", follow_symlinks=False)
            (tree / "fifo one").chmod(0o600)
            held.write(b"written without a name")
            (tree / "later").write_text("later")
            pair.in_sync(pair.a)
            same(pair)
        assert pair.a.status()["counters"]["resyncs"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_second_that_crashes_again_and_again_under_load(pair: Pair, seed: int) -> None:
    pair.start()
    rng = random.Random(seed)
    with loaded(pair.a.tree, seed + 50):
        for _ in range(4):
            time.sleep(rng.random() * 0.5)
            pair.b.kill()
            pair.a.wait_status(link="down")
            pair.a.command("continue_alone", epoch=pair.next_epoch())
            time.sleep(rng.random() * 0.3)
            pair.b.start()
            pair.b.command("become_secondary", epoch=pair.epoch)
            if rng.random() < 0.5:
                pair.in_sync(pair.a)
        if pair.a.status()["frozen"]:
            pair.a.command("continue_alone", epoch=pair.next_epoch())
        pair.in_sync(pair.a)
    same(pair)


def test_take_over_in_the_middle_of_writing_keeps_every_acknowledged_line(pair: Pair) -> None:
    pair.start()
    primary, other = pair.a, pair.b
    acknowledged: list[int] = []
    for round_number in range(6):
        stop = threading.Event()
        thread = threading.Thread(
            target=append_lines, args=(primary.tree / "log", acknowledged, stop), daemon=True
        )
        thread.start()
        time.sleep(0.3)
        primary.kill()
        stop.set()
        thread.join(10)
        other.wait_status(link="down")
        other.command("become_primary", epoch=pair.next_epoch(), alone=True)
        lines = (other.tree / "log").read_text().split("\n")
        present = {int(line) for line in lines if line}
        missing = set(acknowledged) - present
        assert not missing, f"round {round_number}: lost {sorted(missing)[:10]}"
        primary.start()
        primary.command("become_secondary", epoch=pair.epoch)
        pair.in_sync(other)
        same(pair)
        primary, other = other, primary
    assert len(acknowledged) > 100


def append_lines(path: Path, acknowledged: list[int], stop: threading.Event) -> None:
    try:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                number = len(acknowledged) + 1
                file.write(f"{number}\n".encode())
                acknowledged.append(number)
    except OSError:
        return


def test_only_what_differs_travels(pair: Pair) -> None:
    contents = bytearray(random.Random(3).randbytes(40 << 20))
    (pair.a.tree / "large").write_bytes(contents)
    contents[20 << 20] ^= 1
    (pair.b.tree / "large").write_bytes(contents)
    pair.start()
    assert pair.a.status()["counters"]["bytes_sent"] < 100 << 10
    same(pair)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pair", [{"resync_limit_bytes_per_s": 2 << 20}], indirect=True)
def test_a_file_that_is_cut_punched_and_rewritten_while_it_is_compared(
    pair: Pair, seed: int
) -> None:
    rng = random.Random(seed)
    contents = bytearray(rng.randbytes(64 << 20))
    large = pair.a.tree / "large"
    large.write_bytes(contents)
    for zone in range(64):
        if rng.random() < 0.7:
            contents[(zone << 20) + rng.randrange(1 << 20)] ^= 1
    (pair.b.tree / "large").write_bytes(contents)
    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.a.wait_until(lambda: looked_at(pair) > 0)
    changes = 0
    with large.open("r+b", buffering=0) as file:
        while not pair.a.status()["peer_up_to_date"]:
            change_anyhow(file.fileno(), rng)
            changes += 1
    assert changes > 20, "the resync ended before it was disturbed"
    same(pair)


def looked_at(pair: Pair) -> int:
    resync: dict[str, Any] = pair.a.status()["resync"] or {}
    return int(resync.get("bytes_done", 0))


def change_anyhow(descriptor: int, rng: random.Random) -> None:
    """Mostly writes; sometimes the file is cut, punched, zeroed or made longer."""
    size = os.fstat(descriptor).st_size
    place = rng.randrange(max(1, size >> 12)) << 12
    kind = rng.random()
    if kind < 0.8:
        os.pwrite(descriptor, rng.randbytes(rng.choice([100, 4096, 300_000])), place)
    elif kind < 0.85:
        os.truncate(descriptor, max(32 << 20, size - rng.randrange(1 << 20)))
    elif kind < 0.9:
        fallocate(descriptor, "--punch-hole", place, 1 << 20)
    elif kind < 0.95:
        fallocate(descriptor, "--zero-range", place, 1 << 20)
    else:
        os.posix_fallocate(descriptor, place, 2 << 20)


def fallocate(descriptor: int, how: str, offset: int, length: int) -> None:
    command = ["fallocate", how, "-o", str(offset), "-l", str(length), f"/dev/fd/{descriptor}"]
    subprocess.run(command, check=True, pass_fds=[descriptor])


def test_a_second_whose_disk_is_full_does_not_stop_the_primary(
    home: Path, small_disk: Path
) -> None:
    pair = Pair(home)
    try:
        pair.b.config["trees"] = [{"path": str(small_disk)}]
        pair.b.tree = small_disk
        pair.start()
        wrote = write_until_frozen(pair.a)
        assert wrote
        assert pair.a.status()["failed"]["what"] == "peer_apply"
        assert pair.b.status()["failed"]["what"] == "disk_full"
        assert not pair.b.status()["up_to_date"]
        pair.a.command("continue_alone", epoch=pair.next_epoch())
        (pair.a.tree / "goes on").write_text("x")
    finally:
        pair.close()


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
def test_a_second_that_is_told_to_stop_while_it_dials_does_not_begin_to_follow(pair: Pair) -> None:
    """It would follow until the primary ends, and the stop would not be answered before."""
    pair.start()
    pair.b.stop()
    pair.b.start()
    pair.b.command("faults", plan=[{"effect": "dial", "what": {"slow": {"ms": 1000}}}])
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.b.wait_until(lambda: pair.b.command("faults")["faults"]["struck"] == [1])
    pair.b.command("stop", timeout_s=10)


@pytest.mark.timeout(120)
def test_a_second_has_room_for_what_was_renamed_while_it_was_away(
    home: Path, small_disk: Path
) -> None:
    """Where everything is compared a directory with a new name is copied anew: the old one, which
    was moved out of the way, must not take the room for ever."""
    pair = Pair(home, dirty_map=False)
    try:
        pair.b.tree = small_disk / "tree"
        pair.b.tree.mkdir()
        pair.b.config["trees"] = [{"path": str(pair.b.tree)}]
        (pair.a.tree / "old").mkdir()
        for number in range(20):
            (pair.a.tree / "old" / str(number)).write_bytes(os.urandom(1 << 20))
        pair.start()
        pair.b.kill()
        pair.a.wait_status(frozen=True)
        pair.a.command("continue_alone", epoch=pair.next_epoch())
        (pair.a.tree / "old").rename(pair.a.tree / "new")
        pair.b.start()
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.in_sync(pair.a, 60)
        assert "to make room" in pair.b.log()
        same(pair)
    finally:
        pair.close()


def write_until_frozen(engine: Engine) -> bool:
    def write() -> None:
        # The engine is taken down at the end of the test, maybe under this write.
        with suppress(OSError), (engine.tree / "filler").open("wb", buffering=0) as file:
            for _ in range(64):
                file.write(b"x" * (1 << 20))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    engine.wait_status(frozen=True, timeout_s=20)
    return thread.is_alive()
