"""A primary that gives way without having handed everything over: what becomes of its writes."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair

pytestmark = pytest.mark.timeout(90)


def write_that_is_refused(path: Path) -> tuple[threading.Thread, list[int | None]]:
    """It begins now; the second value is the errors that it has seen."""
    refused: list[int | None] = []

    def write() -> None:
        try:
            path.write_text("y")
        except OSError as error:
            refused.append(error.errno)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread, refused


def test_stop_in_a_freeze_ends_waiting_writes_with_an_error(pair: Pair) -> None:
    pair.start()
    pair.b.kill()
    pair.a.wait_status(frozen=True)
    thread, refused = write_that_is_refused(pair.a.tree / "waits")
    time.sleep(0.3)
    pair.a.stop(abort=True)
    thread.join(5)
    assert refused and refused[0] in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


@pytest.mark.parametrize("pair", [{"sync": "fsync"}], indirect=True)
def test_a_frozen_primary_that_must_give_way_refuses_what_the_kernel_holds(pair: Pair) -> None:
    """Another epoch has begun without it: nobody may take its late writes for acknowledged."""
    pair.start()
    descriptor = os.open(pair.a.tree / "file", os.O_CREAT | os.O_RDWR)
    try:
        os.write(descriptor, b"synced")
        os.fsync(descriptor)
        pair.b.kill()
        pair.a.wait_status(frozen=True, link="down")
        os.pwrite(descriptor, b"held by the kernel", 0)
        pair.a.command("become_secondary", epoch=pair.next_epoch(), timeout_s=15)
        with pytest.raises(OSError) as caught:
            os.fsync(descriptor)
        assert caught.value.errno in (errno.EIO, errno.EROFS)
        assert (pair.a.tree / "file").read_bytes() == b"synced"
    finally:
        with suppress(OSError):  # it is told of the loss as well
            os.close(descriptor)


def test_who_gives_way_with_writes_under_way_stays_the_last_primary(pair: Pair) -> None:
    """Of two copies that may both lack something, the control plane serves the last primary's."""
    pair.start()
    assert pair.b.process is not None
    os.kill(pair.b.process.pid, 19)  # SIGSTOP: what is written is sent, and nobody answers
    thread, refused = write_that_is_refused(pair.a.tree / "under way")
    pair.a.wait_status(frozen=True, timeout_s=10)
    pair.b.kill()
    pair.a.command("become_secondary", epoch=pair.next_epoch())
    thread.join(5)
    assert refused == [errno.EIO]
    told = pair.a.status()
    assert (told["role"], told["trusted"]) == ("secondary", False)
    assert told["generation"]["role"] == "primary"
    pair.b.start()
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True)
    pair.in_sync(pair.b)
    assert pair.a.status()["generation"]["role"] == "secondary"  # a copy of what b has, now


def test_split_brain_is_seen_and_the_follower_gives_way(pair: Pair) -> None:
    pair.start()
    pair.b.kill()
    pair.a.wait_status(frozen=True)
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    (pair.a.tree / "a").write_text("a")
    pair.a.kill()
    pair.b.start()
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True)
    (pair.b.tree / "b").write_text("b")
    theirs = pair.b.status()["generation"]
    pair.a.start()
    assert pair.a.command("reconcile", theirs=theirs)["relation"] == "diverged"
    pair.a.command("become_secondary", epoch=pair.next_epoch())
    pair.b.command("become_primary", epoch=pair.epoch, alone=True)
    pair.in_sync(pair.b)
    assert not (pair.a.tree / "a").exists()
    same(pair)
