"""The second learns a file's number by a name in a directory that it knows by number, and the
directory's by a name in the one above. What this node knows of names may be old by then.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair

pytestmark = pytest.mark.timeout(120)
DEPTH = 4000


def hand_over(pair: Pair, primary: Engine, second: Engine) -> None:
    primary.command("become_secondary", epoch=pair.next_epoch())
    second.command("become_primary", epoch=pair.epoch, alone=False)
    pair.in_sync(second)


def test_of_two_directories_each_has_stood_in_the_other(pair: Pair) -> None:
    """They were turned round on the other node: by what is known here, each leads to the other."""
    pair.start()
    (pair.a.tree / "outer" / "inner").mkdir(parents=True)
    (pair.a.tree / "outer" / "inner" / "file").write_text("1")
    hand_over(pair, pair.a, pair.b)
    (pair.b.tree / "outer" / "inner").rename(pair.b.tree / "inner")
    (pair.b.tree / "outer").rename(pair.b.tree / "inner" / "outer")
    (pair.b.tree / "inner" / "outer" / "other").write_text("2")
    hand_over(pair, pair.b, pair.a)
    (pair.a.tree / "inner" / "outer" / "other").write_text("3")
    (pair.a.tree / "inner" / "outer" / "more").write_text("4")
    (pair.a.tree / "inner" / "file").write_text("5")
    assert pair.a.status()["link"] == "up"
    assert pair.a.status()["counters"]["resyncs"] == 1, "all was told of"
    same(pair)


def make_deep(root: Path) -> int:
    """A file so deep that no path names it; returns a descriptor of its directory."""
    directory = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=directory)
        below = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    return directory


def go_deep(root: Path) -> int:
    directory = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        below = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    return directory


def write_in(directory: int, text: bytes) -> None:
    file = os.open("file", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, dir_fd=directory)
    os.write(file, text)
    os.close(file)


def read_in(directory: int) -> bytes:
    file = os.open("file", os.O_RDONLY, dir_fd=directory)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)


def remove_deep(root: Path) -> None:
    subprocess.run(["rm", "-rf", str(root / "d")], check=True)  # Python's own would recurse


def test_a_file_that_no_path_can_name(pair: Pair) -> None:
    pair.start()
    os.close(make_deep(pair.a.tree))
    hand_over(pair, pair.a, pair.b)
    hand_over(pair, pair.b, pair.a)
    # In this session the second knows no file by its number yet.
    try:
        directory = go_deep(pair.a.tree)
        write_in(directory, b"of the deep")
        os.close(directory)
        assert pair.a.status()["link"] == "up"
        raw = go_deep(pair.b.raw)
        assert read_in(raw) == b"of the deep"
        os.close(raw)
        remove_deep(pair.a.tree)
        assert list(pair.b.raw.iterdir()) == []
    finally:
        for engine in (pair.a, pair.b):
            remove_deep(engine.raw)
