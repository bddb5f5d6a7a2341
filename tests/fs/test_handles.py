"""Handles of files stay good when the kernel has dropped the files from its caches, as a server of
files needs that keeps handles for its clients."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.operations.kernel import drop_caches, handle_of, open_handle

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=["write", "fsync"])
def running(request: pytest.FixtureRequest, module_home: Path) -> Iterator[Pair]:
    pair = Pair(module_home / request.param, sync=request.param)
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


def read_by_handle(mount: Path, handle: bytes) -> bytes:
    descriptor = open_handle(mount, handle, os.O_RDONLY)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def stale(mount: Path, handle: bytes) -> bool:
    with pytest.raises(OSError) as caught:
        read_by_handle(mount, handle)
    return caught.value.errno == errno.ESTALE


def test_a_handle_outlives_the_caches(running: Pair) -> None:
    mount = running.a.tree
    (mount / "one" / "two").mkdir(parents=True)
    file = mount / "one" / "two" / "file"
    file.write_text("by its handle")
    handles = handle_of(file), handle_of(mount / "one" / "two")
    drop_caches()
    assert read_by_handle(mount, handles[0]) == b"by its handle"
    drop_caches()
    directory = open_handle(mount, handles[1], os.O_RDONLY)
    assert os.listdir(directory) == ["file"]
    os.close(directory)


def test_what_is_written_through_it_is_replicated(running: Pair) -> None:
    mount = running.a.tree
    (mount / "deep" / "down").mkdir(parents=True)
    file = mount / "deep" / "down" / "written"
    file.write_text("before")
    handle = handle_of(file)
    drop_caches()
    descriptor = open_handle(mount, handle, os.O_RDWR)
    os.write(descriptor, b"after!")
    os.fchmod(descriptor, 0o600)
    os.fsync(descriptor)
    os.close(descriptor)
    assert (running.b.raw / "deep" / "down" / "written").read_text() == "after!"
    same(running, "deep")


def test_it_follows_renames_of_the_file_and_of_its_directories(running: Pair) -> None:
    mount = running.a.tree
    (mount / "before").mkdir()
    (mount / "before" / "file").write_text("moved")
    os.link(mount / "before" / "file", mount / "second name")
    handle = handle_of(mount / "before" / "file")
    drop_caches()
    (mount / "before").rename(mount / "after")
    drop_caches()
    assert read_by_handle(mount, handle) == b"moved"
    drop_caches()
    (mount / "after" / "file").rename(mount / "elsewhere")
    (mount / "second name").unlink()
    drop_caches()
    assert read_by_handle(mount, handle) == b"moved"


def test_a_file_that_is_gone_is_stale_also_under_a_number_used_again(running: Pair) -> None:
    mount = running.a.tree
    for number in range(20):
        (mount / "journal").write_text(str(number))
        handle = handle_of(mount / "journal")
        drop_caches()
        (mount / "journal").unlink()
        (mount / "next").write_text("another file, perhaps of the same number")
        drop_caches()
        assert stale(mount, handle)
        (mount / "next").unlink()


def test_the_second_knows_handles_of_its_own(running: Pair) -> None:
    (running.a.tree / "read there").write_text("on b")
    handle = handle_of(running.b.tree / "read there")
    drop_caches()
    if running.b.config["sync"] == "write":
        assert read_by_handle(running.b.tree, handle) == b"on b"
