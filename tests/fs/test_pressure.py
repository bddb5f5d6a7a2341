"""Memory that is short: a call that finds none is tried again, and an engine in a small control
group serves a disk that the kernel writes back through it."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair
from tests.fs.test_images import disk, run

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20
LABELS = [
    "open_handle", "open_name", "write", "read", "make", "link", "rename", "unlink", "truncate",
    "allocate", "set_owner", "set_times",
]  # fmt: skip
GROUP_BYTES = 48 * MIB
IMAGE_BYTES = 200 * MIB
FILE_MIB = 80


def work(root: Path) -> None:
    (root / "a").mkdir()
    with (root / "a" / "file").open("wb+", buffering=0) as file:
        file.write(b"x" * 100_000)
        os.posix_fallocate(file.fileno(), 0, 200_000)
        file.truncate(150_000)
        assert os.pread(file.fileno(), 5, 10) == b"xxxxx"
        os.fsync(file.fileno())
    os.link(root / "a" / "file", root / "a" / "link")
    os.chown(root / "a" / "file", 7, 8)
    os.utime(root / "a" / "file", ns=(1, 1))
    (root / "a" / "link").rename(root / "b")
    (root / "b").unlink()
    (root / "a" / "file").unlink()
    (root / "a").rmdir()


@pytest.mark.parametrize("pair", [{"faults": [], "cache": "none"}], indirect=True)
def test_a_call_that_finds_no_memory_for_a_moment_is_no_error(pair: Pair) -> None:
    pair.start()
    for engine in (pair.a, pair.b):
        for label in LABELS:
            fails = {"effect": label, "count": 3, "what": {"fail": {"errno": errno.ENOMEM}}}
            engine.command("faults", plan=[fails])
            work(pair.a.tree)
            pair.a.wait_until(lambda: pair.a.status()["failed"] is None, 1)
            if label != "read" or engine is pair.a:
                assert engine.command("faults")["faults"]["struck"] == [3], label
        engine.command("faults", plan=[])
    status = pair.a.status()
    assert status["peer_up_to_date"] and status["failed"] is None
    assert status["counters"]["resyncs"] <= 1
    same(pair)


@contextmanager
def small_group(engine: Engine) -> Generator[Path]:
    """The engine in a control group of its own whose memory is bounded, page cache and all."""
    assert engine.process is not None
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"twofold-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            break
        group.rmdir()
    else:
        pytest.skip("no control group with a bound on memory can be made here")
    try:
        (group / "cgroup.procs").write_text(str(engine.process.pid))
        (group / limit).write_text(str(GROUP_BYTES))
        yield group
    finally:
        (root / "cgroup.procs").write_text(str(engine.process.pid))
        group.rmdir()


def write(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for number in range(FILE_MIB):
            file.write(bytes([number]) * MIB)
        os.fsync(file.fileno())


@pytest.mark.parametrize("pair", [{"sync": "fsync"}], indirect=True)
def test_a_disk_on_an_engine_that_is_short_of_memory(pair: Pair) -> None:
    """Each page that the kernel writes back goes through the engine, which gets hardly any memory
    itself: neither may wait for the other."""
    pair.start()
    with (pair.a.tree / "disk.img").open("wb") as image:
        image.truncate(IMAGE_BYTES)
    with small_group(pair.a), disk(pair.a, pair.home / "on a") as attached:
        run("mkfs.ext4", "-q", attached.device)
        attached.mount()
        writers = [
            threading.Thread(target=write, args=(attached.place / str(number),), daemon=True)
            for number in range(2)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert not any(writer.is_alive() for writer in writers), "the engine and the kernel wait"
        for number in range(2):
            assert (attached.place / str(number)).stat().st_size == FILE_MIB * MIB
        subprocess.run(["umount", str(attached.place)], check=True, timeout=30)
        run("e2fsck", "-fn", attached.device)
    status = pair.a.status()
    assert status["peer_up_to_date"] and status["failed"] is None
    same(pair)
