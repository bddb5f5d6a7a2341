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
from tests.fs.test_border_random import exchange

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


def leave_by(tree: Path, change: str) -> None:
    if change == "unlink":
        (tree / "old").unlink()
    elif change == "rmdir":
        (tree / "folder").rmdir()
    elif change == "rename":
        (tree / "old").rename(tree / "moved")
    elif change == "rename over another":
        (tree / "old").rename(tree / "other")
    else:
        exchange(tree / "old", tree / "other")


def other_files_by_these_names(tree: Path, how: str) -> dict[str, str]:
    """What the node that serves on makes of the names, by which it has the files of before; returns
    what is to be found at each."""
    (tree / "folder").rmdir()
    (tree / "folder").mkdir()
    (tree / "folder" / "inside").write_text("of after")
    if how == "exchanged":
        exchange(tree / "old", tree / "other")
        found = {"old": "other, of before", "other": "old, of before"}
    else:
        found = {name: f"{name}, of after" for name in ("old", "other")}
        for name, text in found.items():
            (tree / name).unlink()
            (tree / name).write_text(text)
    return {**found, "folder/inside": "of after"}


@pytest.mark.parametrize(
    ("change", "after"),
    [
        ("unlink", "made anew"),
        ("rmdir", "made anew"),
        ("rename", "exchanged"),
        ("rename over another", "exchanged"),
        ("rename over another", "made anew"),
        ("exchange", "exchanged"),
    ],
)
def test_a_name_that_left_as_this_node_gave_way_does_not_lead_to_what_stood_there(
    pair: Pair, change: str, after: str
) -> None:
    """The change is done here and nobody was told so: the kernel, told of an error, holds the name
    for as good as before. A database whose journal came back in this way would undo what it has
    done since.
    """
    pair.start()
    for name in ("old", "other"):
        (pair.a.tree / name).write_text(f"{name}, of before")
    (pair.a.tree / "folder").mkdir()
    time.sleep(0.3)  # the times of what was written are told
    assert pair.b.process is not None
    os.kill(pair.b.process.pid, 19)  # SIGSTOP: what is done is sent, and nobody answers
    refused: list[int | None] = []

    def leave() -> None:
        try:
            leave_by(pair.a.tree, change)
        except OSError as error:
            refused.append(error.errno)

    thread = threading.Thread(target=leave, daemon=True)
    thread.start()
    pair.a.wait_status(frozen=True, timeout_s=10)
    pair.b.kill()
    pair.a.command("become_secondary", epoch=pair.next_epoch())
    thread.join(5)
    assert refused == [errno.EIO], "it was under way"
    pair.b.start()
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True)
    wanted = other_files_by_these_names(pair.b.tree, after)
    pair.in_sync(pair.b)
    pair.b.command("become_secondary", epoch=pair.next_epoch())
    pair.a.command("become_primary", epoch=pair.epoch, alone=True)
    found = {name: (pair.a.tree / name).read_text() for name in wanted}
    assert found == wanted
    assert not (pair.a.tree / "moved").exists()
    assert sorted(os.listdir(pair.a.tree)) == ["folder", "old", "other"]
    for name in ("old", "other"):
        with (pair.a.tree / name).open("a") as file:
            file.write("!")
    (pair.a.tree / "folder" / "more").write_text("of the end")
    pair.in_sync(pair.a)
    same(pair)


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
@pytest.mark.parametrize("change", ["unlink", "rmdir", "rename over another"])
def test_a_name_that_left_with_an_error_is_not_shown_where_this_node_serves_on(
    pair: Pair, change: str
) -> None:
    """What the second is told of a removal could not be read any more: an error, and it is done."""
    pair.start()
    tree = pair.a.tree
    for name in ("old", "other"):
        (tree / name).write_text(f"{name}, of before")
    (tree / "folder").mkdir()
    time.sleep(0.3)  # the times of what was written are told: that looks at them as well
    before = {name: (tree / name).stat() for name in ("old", "other", "folder")}
    # Removing looks at the file, then at its directory; a rename at more before its directory.
    looks = 4 if change == "rename over another" else 2
    plan = [{"effect": "stat", "what": {"fail": {"errno": errno.EIO}}, "from": looks, "count": 1}]
    pair.a.command("faults", plan=plan)
    with pytest.raises(OSError) as caught:
        leave_by(tree, change)
    assert caught.value.errno == errno.EIO
    pair.a.command("faults", plan=[])
    left = "folder" if change == "rmdir" else "old"
    assert left not in os.listdir(pair.a.raw), "it is done"
    if pair.a.status()["frozen"]:
        pair.a.command("continue_alone", epoch=pair.next_epoch())
    pair.in_sync(pair.a)
    pair.a.wait_until(lambda: not (tree / left).exists(), 5)
    if change == "rename over another":
        assert (tree / "other").read_text() == "old, of before"
        assert (tree / "other").stat().st_ino == before["old"].st_ino
    same(pair)


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
