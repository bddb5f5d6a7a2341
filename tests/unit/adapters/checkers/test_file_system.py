"""mount and disk: what `statfs` says is judged, and a mount that is dead holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.adapters.checkers.probing import checker_of, probe
from twofold.adapters.checkers.file_system import Space, judge, read_space, short_size
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict

pytestmark = pytest.mark.timeout(30)

GIB = 1 << 30
FULL = Space(100 * GIB, 2 * GIB, 1000, 20)
ROOMY = Space(100 * GIB, 50 * GIB, 1000, 500)


def judged(space: Space, **keys: Any) -> Verdict:
    given = {"name": "c", "kind": "disk", "path": "/srv", **keys}
    return judge("/srv", space, Checker.model_validate(given))


@pytest.mark.parametrize(
    ("space", "keys", "text"),
    [
        (FULL, {}, "only 2 GiB (2 %) free around /srv; wanted are 5 %"),
        (FULL, {"free_percent": 2, "free_inodes_percent": 2}, ""),
        (FULL, {"free": "1GiB", "free_inodes_percent": 0}, ""),  # bytes said: no percent
        (FULL, {"free": "3GiB"}, "only 2 GiB (2 %) free around /srv; wanted are 3GiB"),
        (FULL, {"free": "1GiB"}, "only 20 of 1000 inodes free around /srv; wanted are 5 %"),
        (ROOMY, {}, ""),
        (ROOMY, {"free": "1GiB", "free_percent": 60}, "only 50 GiB (50 %) free around /srv; "
         "wanted are 60 %"),
        (Space(0, 0, 0, 0), {}, ""),  # a file system that counts nothing
    ],
)  # fmt: skip
def test_room(space: Space, keys: dict[str, Any], text: str) -> None:
    verdict = judged(space, **keys)
    assert verdict.ok is (text == "")
    assert text in verdict.text


def test_reading() -> None:
    assert read_space("4096 100 50 1000 900\n") == Space(409600, 204800, 1000, 900)
    assert [short_size(n) for n in (5, 2048, 1536 << 20)] == ["5 B", "2 KiB", "1.5 GiB"]


async def test_disk_of_this_machine(tmp_path: Path) -> None:
    little: dict[str, Any] = {"free_percent": 1, "free_inodes_percent": 0}
    assert (await probe(tmp_path, kind="disk", path=str(tmp_path), **little)).ok
    too_much = await probe(tmp_path, kind="disk", path=str(tmp_path), free="9000TiB")
    assert not too_much.ok and too_much.text.endswith("wanted are 9000TiB")
    gone = await probe(tmp_path, kind="disk", path="/no/such")
    assert gone == Verdict(False, "/no/such cannot be asked: No such file or directory")


async def test_mount_that_answers(tmp_path: Path) -> None:
    verdict = await probe(tmp_path, kind="mount", path=str(tmp_path))
    assert verdict.ok and verdict.text.startswith(f"{tmp_path} answered in ")


# --- a mount that is dead -----------------------------------------------------------------------

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_FUSE_INIT = 26


class DeadMount:
    """A FUSE file system whose server takes requests and never answers: then not even SIGKILL
    frees who asked, as with a server that hangs."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if _LIBC.mount(b"dead", bytes(at), b"fuse", 0, options) != 0:
            os.close(self._device)
            raise OSError(ctypes.get_errno(), "mount")
        self.taken = 0

    def take(self) -> None:
        """Read what is there: the kernel then counts it as being worked on."""
        with contextlib.suppress(BlockingIOError):
            while True:
                request = os.read(self._device, 1 << 20)
                _length, opcode, unique = struct.unpack_from("=IIQ", request)
                if opcode == _FUSE_INIT:
                    body = struct.pack("=IIIIHHI9I", 7, 31, 0, 0, 12, 10, 1 << 16, *[0] * 9)
                    os.write(self._device, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
                else:
                    self.taken += 1

    def close(self) -> None:
        """The server is gone for good: whoever waits gets an error."""
        os.close(self._device)
        _LIBC.umount2(bytes(self.at), _MNT_DETACH)


@pytest.fixture
def dead(tmp_path: Path) -> Generator[DeadMount]:
    at = tmp_path / "dead"
    at.mkdir()
    mount = DeadMount(at)
    try:
        yield mount
    finally:
        with contextlib.suppress(OSError):
            mount.close()


@pytest.mark.root
@pytest.mark.fuse
async def test_a_dead_mount_is_told_in_time_and_blocks_nothing(
    tmp_path: Path, dead: DeadMount
) -> None:
    checker = checker_of(tmp_path, kind="mount", path=str(dead.at), timeout="500ms")
    late_s = 0.0

    async def loop_runs() -> None:
        nonlocal late_s
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.01)
            late_s = max(late_s, time.monotonic() - before_s)
            dead.take()

    running = asyncio.create_task(loop_runs())
    start_s = time.monotonic()
    first = await checker.probe()
    took_s = time.monotonic() - start_s
    assert first == Verdict(
        False, f"{dead.at} does not answer: not even SIGKILL ended a look at it"
    )
    assert took_s < 3 and dead.taken >= 1

    # It starts no second process while the first one hangs, and says so at once.
    taken, start_s = dead.taken, time.monotonic()
    for _ in range(5):
        again = await checker.probe()
        assert not again.ok and "not even SIGKILL" in again.text
    assert time.monotonic() - start_s < 1 and dead.taken == taken

    # Other probes and the daemon's own threads go on.
    assert (await probe(tmp_path, kind="mount", path=str(tmp_path))).ok
    async with asyncio.timeout(2):
        await asyncio.to_thread(os.getpid)

    dead.close()
    async with asyncio.timeout(5):
        while "hangs" in (await checker.probe()).text:  # until it is asked anew
            await asyncio.sleep(0.02)
    running.cancel()
    assert late_s < 1.0
