"""Paths that stay on each node: not sent, not resynchronised, not compared, not rescued, and not
removed from a secondary."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fs.engines import Engine, Pair
from tests.fs.test_verify import found, verify

pytestmark = pytest.mark.timeout(120)
EXCLUDE = ["*.tmp", "cache/", "/logs/*.old", r"regex:^spool/\d+$"]
OPTIONS: dict[str, Any] = {"exclude": EXCLUDE, "dirty_map": False}
NO_FAULTS: list[dict[str, Any]] = []
WITH_FAULTS: dict[str, Any] = OPTIONS | {"faults": NO_FAULTS}
with_exclusions = pytest.mark.parametrize("pair", [OPTIONS], indirect=True)


def names(root: Path) -> set[str]:
    paths = {str(path.relative_to(root)) for path in root.rglob("*")}
    return {path for path in paths if not path.startswith(".twofold-aside")}


def switch(pair: Pair, new: Engine, old: Engine) -> None:
    epoch = pair.next_epoch()
    old.command("become_secondary", epoch=epoch)
    new.command("become_primary", epoch=epoch, alone=False)
    pair.in_sync(new)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def begin_again(pair: Pair) -> None:
    """Both are stopped in order and started; what was looked up is forgotten."""
    for engine in (pair.b, pair.a):
        engine.stop()
    for engine in (pair.a, pair.b):
        engine.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=False)
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)


@with_exclusions
def test_excluded_paths_are_written_here_only(pair: Pair) -> None:
    write(pair.a.tree / "before.tmp", "a")
    write(pair.a.tree / "cache" / "deep" / "file", "a")
    (pair.a.tree / "logs").mkdir()
    pair.start()
    write(pair.b.raw / "cache" / "of b", "b")
    write(pair.b.raw / "logs" / "b.old", "b")
    (pair.a.tree / "touched").mkdir()  # the time of the directory above is told anew
    (pair.a.tree / "touched").rmdir()
    write(pair.a.tree / "x" / "y.tmp", "a")
    write(pair.a.tree / "x" / "y.txt", "a")
    write(pair.a.tree / "cache" / "more", "a")
    write(pair.a.tree / "x" / "cache", "a file of that name is no directory")
    write(pair.a.tree / "logs" / "a.old", "a")
    write(pair.a.tree / "logs" / "deeper" / "a.old", "replicated")
    write(pair.a.tree / "spool" / "17", "a")
    write(pair.a.tree / "spool" / "x17", "replicated")
    with (pair.a.tree / "x" / "y.tmp").open("r+") as file:
        file.write("more")
        os.fsync(file.fileno())
    os.setxattr(pair.a.tree / "x" / "y.tmp", "user.a", b"1")
    os.symlink("y.txt", pair.a.tree / "x" / "link.tmp")
    os.mkfifo(pair.a.tree / "x" / "fifo.tmp")
    os.unlink(pair.a.tree / "before.tmp")
    assert names(pair.b.raw) == {
        "cache", "cache/of b", "logs", "logs/b.old", "logs/deeper", "logs/deeper/a.old",
        "spool", "spool/x17", "x", "x/y.txt", "x/cache",
    }  # fmt: skip
    result = verify(pair)
    assert found(result) == {}, result
    assert pair.a.status()["peer_up_to_date"]
    assert "no known name leads" not in pair.a.log()
    switch(pair, pair.b, pair.a)
    assert (pair.b.tree / "cache" / "of b").read_text() == "b"
    assert not (pair.b.tree / "cache" / "more").exists()
    write(pair.b.tree / "x" / "only.tmp", "b")
    write(pair.b.tree / "x" / "both", "b")
    assert (pair.a.raw / "x" / "both").read_text() == "b"
    assert (pair.a.raw / "x" / "y.tmp").read_text() == "more"
    assert not (pair.a.raw / "x" / "only.tmp").exists()


@with_exclusions
def test_a_resync_leaves_them_alone(pair: Pair) -> None:
    pair.start()
    write(pair.a.tree / "d" / "shared", "1")
    write(pair.a.tree / "gone" / "shared", "1")
    pair.b.stop()
    for folder in ("d", "gone"):
        write(pair.b.tree / folder / "of b.tmp", "b")
        write(pair.b.tree / folder / "cache" / "of b", "b")
    write(pair.b.tree / "d" / "strange", "was never on a")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    write(pair.a.tree / "d" / "shared", "2")
    write(pair.a.tree / "d" / "of a.tmp", "a")
    write(pair.a.tree / "gone" / "of a.tmp", "a")
    with pytest.raises(OSError, match="not empty"):
        (pair.a.tree / "gone").rmdir()
    for path in ("shared", "of a.tmp"):
        (pair.a.tree / "gone" / path).unlink()
    (pair.a.tree / "gone").rmdir()
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    # What is excluded goes with its directory, and only so.
    assert names(pair.b.raw) == {"d", "d/shared", "d/of b.tmp", "d/cache", "d/cache/of b"}
    assert (pair.b.raw / "d" / "shared").read_text() == "2"
    saved = [path for path in (pair.b.home / "state").rglob("*") if path.is_file()]
    assert not any(b"of b" in path.read_bytes() for path in saved)
    assert found(verify(pair)) == {}


@with_exclusions
def test_a_directory_that_goes_takes_what_was_excluded_in_it(pair: Pair) -> None:
    for folder in ("d", "e", "f"):
        (pair.a.tree / folder).mkdir()
    pair.start()
    write(pair.b.raw / "d" / "cache" / "of b", "b")
    write(pair.b.raw / "e" / "of b.tmp", "b")
    assert (pair.b.raw / "d" / "cache" / "of b").exists()
    (pair.a.tree / "d").rmdir()
    (pair.a.tree / "f").rename(pair.a.tree / "e")
    assert names(pair.b.raw) == {"e"}
    assert pair.a.status()["peer_up_to_date"]


@with_exclusions
def test_what_stays_here_does_not_wait_for_the_other_node(pair: Pair) -> None:
    pair.start()
    write(pair.a.tree / "d" / "before.tmp", "a")
    (pair.a.tree / "cache").mkdir()
    assert pair.b.process is not None
    pair.b.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    try:
        path = pair.a.tree / "d" / "before.tmp"
        path.chmod(0o640)
        os.setxattr(path, "user.a", b"1")
        os.truncate(path, 100)
        write(pair.a.tree / "d" / "new.tmp", "a")
        write(pair.a.tree / "cache" / "new", "a")
        os.rename(pair.a.tree / "d" / "new.tmp", pair.a.tree / "cache" / "other")
        os.link(pair.a.tree / "cache" / "other", pair.a.tree / "d" / "link.tmp")
        with path.open("r+") as file:
            file.write("b")
            os.fsync(file.fileno())
        path.unlink()
        took_s = time.monotonic() - begun
        assert not pair.a.status()["frozen"], pair.a.status()
    finally:
        pair.b.process.send_signal(signal.SIGCONT)
    assert took_s < 1.4, took_s
    assert names(pair.b.raw) == {"d"}


@with_exclusions
def test_other_patterns_mean_a_comparison(pair: Pair) -> None:
    pair.start()
    write(pair.a.tree / "a.tmp", "a")
    write(pair.a.tree / "a.bak", "a")
    for engine in (pair.a, pair.b):
        engine.config["exclude"] = ["*.bak"]
    begin_again(pair)
    assert pair.b.status()["counters"]["resyncs"] == 1
    # What is replicated now is there; what is not any more stays where it is.
    assert (pair.b.raw / "a.tmp").read_text() == "a"
    write(pair.a.tree / "a.bak", "changed")
    assert (pair.b.raw / "a.bak").read_text() == "a"
    begin_again(pair)
    assert pair.b.status()["counters"]["resyncs"] == 0  # it was compared once


def test_a_bad_pattern_is_told_before_anything_starts(home: Path) -> None:
    pair = Pair(home, exclude=["*.tmp", "regex:("], dirty_map=False)
    try:
        with pytest.raises(AssertionError, match="unclosed group"):
            pair.a.start()
        pair.b.config |= {"exclude": ["*.tmp"], "dirty_map": True}
        with pytest.raises(AssertionError, match="`dirty_map` is true, which does not go with"):
            pair.b.start()
    finally:
        pair.close()
