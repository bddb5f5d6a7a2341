"""A volume that is not mounted is never taken for the data, on either side."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fs.engines import Engine, Pair

pytestmark = pytest.mark.timeout(60)


def last_words(engine: Engine) -> str:
    """What it says when it does not start."""
    with pytest.raises((AssertionError, OSError)):
        engine.start()
    assert engine.process is not None
    assert engine.process.wait(10) == 2
    engine.process = None
    return engine.log().strip().split("\n")[-1]


def test_a_required_path_that_is_missing_keeps_the_engine_from_starting(home: Path) -> None:
    pair = Pair(home, require=["is mounted"])
    try:
        assert "has no is mounted, which must be there (require)" in last_words(pair.a)
        (pair.a.tree / "is mounted").mkdir()
        pair.a.start()
    finally:
        pair.close()


def test_an_empty_mount_point_is_not_taken_for_the_data(home: Path, small_disk: Path) -> None:
    pair = Pair(home)
    try:
        for engine in (pair.a, pair.b):
            engine.config["trees"] = [{"path": str(engine.tree)}]
        pair.b.config["trees"] = [{"path": str(small_disk)}]
        pair.b.tree = small_disk
        (pair.a.tree / "data").write_text("x")
        pair.start()
        pair.b.stop()
        subprocess.run(["umount", str(small_disk)], check=True)
        said = last_words(pair.b)
        assert "is not the directory that this node's data is in" in said
        assert list(small_disk.iterdir()) == [], "and nothing was written into the mount point"
        subprocess.run(
            ["mount", "-o", "loop", str(home / "small.img"), str(small_disk)], check=True
        )
        pair.b.start()
        pair.a.command("continue_alone", epoch=pair.next_epoch())
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.in_sync(pair.a)
    finally:
        pair.close()


def test_a_replaced_directory_is_accepted_as_the_sentence_says(pair: Pair) -> None:
    (pair.a.tree / "data").write_text("x")
    pair.start()
    pair.b.stop()
    pair.b.tree.rename(pair.b.home / "old")
    pair.b.tree.mkdir()
    said = last_words(pair.b)
    for name in ("generation", "trees"):
        file = pair.b.home / "state" / name
        assert str(file) in said
        file.unlink()
    pair.b.start()
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    assert (pair.b.raw / "data").read_text() == "x"


def test_a_damaged_record_says_so(pair: Pair) -> None:
    pair.start()
    pair.b.stop()
    record = pair.b.home / "state" / "trees"
    record.write_bytes(record.read_bytes().replace(b"tree", b"tree "))
    assert "trees is damaged" in last_words(pair.b)
