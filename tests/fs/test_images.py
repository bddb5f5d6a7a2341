"""A disk in a replicated file: a loop device with a file system of its own.

Its primary dies under load, the other node mounts the same disk: what was synced is there, and the
file system's own checker finds nothing. The kernel then writes back its memory through the engine,
so the engine must never wait for memory that only it can set free.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair

pytestmark = pytest.mark.timeout(120)
IMAGE_BYTES = 320 << 20
TRIMMED_BLOCKS = (20 << 20) // 512
# From include/linux/sched.h: what PR_SET_IO_FLUSHER sets for a thread.
MEMALLOC_NOIO, LOCAL_THROTTLE = 0x00080000, 0x00100000
CAP_SYS_RESOURCE = 24

MAKE = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"]}
CHECK = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"]}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Disk:
    """The image of an engine's tree as a loop device, mounted."""

    def __init__(self, engine: Engine, place: Path) -> None:
        self.place = place
        self.device = run("losetup", "--find", "--show", str(engine.tree / "disk.img"))

    def mount(self) -> None:
        self.place.mkdir(exist_ok=True)
        run("mount", self.device, str(self.place))

    def release(self) -> None:
        """Also after the death of what is below it."""
        for _ in range(50):
            subprocess.run(["umount", str(self.place)], capture_output=True, check=False)
            if not os.path.ismount(self.place):
                break
            time.sleep(0.1)
        subprocess.run(["losetup", "--detach", self.device], capture_output=True, check=False)


@contextmanager
def disk(engine: Engine, place: Path) -> Generator[Disk]:
    attached = Disk(engine, place)
    try:
        yield attached
    finally:
        attached.release()


def contents(number: int) -> bytes:
    return b"%d " % number * (1 + number * 37 % 9000)


def write_until_it_breaks(root: Path, synced: list[int]) -> None:
    """Files one after another, each synced with its name; some are removed again."""
    try:
        for number in range(1_000_000):
            with (root / str(number)).open("wb", buffering=0) as file:
                file.write(contents(number))
                os.fsync(file.fileno())
            directory = os.open(root, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
            synced.append(number)
            if number % 5 == 4:
                synced.remove(number - 2)
                (root / str(number - 2)).unlink()
    except OSError:
        pass


@pytest.mark.parametrize("pair", [{}, {"sync": "fsync"}], ids=["write", "fsync"], indirect=True)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_disk_in_a_file_survives_the_death_of_its_primary(pair: Pair, kind: str) -> None:
    if kind not in Path("/proc/filesystems").read_text().split():
        pytest.skip(f"the kernel has no {kind}")
    pair.start()
    with (pair.a.tree / "disk.img").open("wb") as image:
        image.truncate(IMAGE_BYTES)
    synced: list[int] = []
    with disk(pair.a, pair.home / "on a") as first:
        run(*MAKE[kind], first.device)
        first.mount()
        (first.place / "trimmed").write_bytes(os.urandom(1 << 20) * 30)
        os.sync()
        (first.place / "trimmed").unlink()
        os.sync()
        before = (pair.a.raw / "disk.img").stat().st_blocks
        deadline = time.monotonic() + 20
        while before - (pair.a.raw / "disk.img").stat().st_blocks < TRIMMED_BLOCKS:
            # xfs frees what was removed a while later.
            assert time.monotonic() < deadline, "what the disk gives back is not freed below"
            run("fstrim", str(first.place))
            time.sleep(0.2)
        writer = threading.Thread(target=write_until_it_breaks, args=(first.place, synced))
        writer.start()
        deadline = time.monotonic() + 30
        while len(synced) < 60 and time.monotonic() < deadline:
            time.sleep(0.02)
        pair.a.kill()
        writer.join(30)
        assert not writer.is_alive(), "what waits for the disk must end with an error"
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    with disk(pair.b, pair.home / "on b") as second:
        second.mount()
        for number in synced:
            assert (second.place / str(number)).read_bytes() == contents(number), number
        assert len(synced) >= 30
        (second.place / "goes on").write_bytes(b"x" * 100_000)
        run("umount", str(second.place))
        run(*CHECK[kind], second.device)
    pair.a.start()
    pair.a.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.b)
    same(pair)


def test_the_engine_may_be_below_memory_that_is_written_back(pair: Pair) -> None:
    """Marked as such, locked in memory, and not the first to be killed; where the system does not
    let it (a container), it says so."""
    pair.a.start()
    assert pair.a.process is not None
    process = Path("/proc") / str(pair.a.process.pid)
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    assert int(status["VmLck"].split()[0]) > 0, "its memory is locked"
    if not int(status["CapEff"], 16) & 1 << CAP_SYS_RESOURCE:
        assert "refused this process to be part of the reclaim path" in pair.a.log()
        return
    for task in (process / "task").iterdir():
        flags = int((task / "stat").read_text().rpartition(")")[2].split()[6])
        assert flags & MEMALLOC_NOIO and flags & LOCAL_THROTTLE, (task / "comm").read_text()
    assert (process / "oom_score_adj").read_text().strip() == "-1000"
