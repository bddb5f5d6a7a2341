"""Saving what only one node has, where the disk fails, the engine dies, or blocks can be shared."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.rescued import (
    assert_found,
    copy_of,
    diverged,
    extract,
    follow,
    let_go,
    rescues,
    split,
    win,
)

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
@pytest.mark.parametrize(
    ("effect", "passes"),
    [("rescue_make", 4), ("rescue_write", 9), ("rescue_sync", 7), ("rescue_rename", 3)],
)
def test_a_crash_at_each_step_of_saving_loses_nothing(pair: Pair, effect: str, passes: int) -> None:
    (pair.a.tree / "gone").write_text("common")
    winner, loser = split(pair)
    for number in range(6):
        (loser.tree / f"only{number}").write_text(f"loser's {number}")
        (loser.tree / f"both{number}").write_bytes(bytes([number]) * 70_000)
    win(pair, winner, loser)
    for number in range(6):
        (winner.tree / f"both{number}").write_bytes(b"winner" * 10_000)
    was = copy_of(loser.tree, pair.home / "was")
    winners = copy_of(winner.tree, pair.home / "winners")
    crashes = 0
    # From the first pass on, one later each time, until the resync comes to its end.
    for start in range(1, 40, passes):
        loser.start()
        strike = {"effect": effect, "from": start, "count": 1, "what": "kill"}
        loser.command("faults", plan=[strike])
        loser.command("become_secondary", epoch=pair.epoch)
        assert loser.process is not None
        until = time.monotonic() + 20
        while loser.process.poll() is None and not winner.status()["peer_up_to_date"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        if loser.process.poll() is None:
            break
        crashes += 1
        loser.kill()
        let_go(pair, winner)
    else:
        follow(pair, loser)
    assert crashes > 0
    pair.in_sync(winner)
    same(pair)
    rescue = rescues(loser)[-1]
    assert rescue["state"] == "complete"
    done = extract(loser, rescue["id"], pair.home / "found")
    assert not done["damaged"] and not done["partial"], done
    assert assert_found(was, winners, pair.home / "found") >= 12


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
@pytest.mark.parametrize("effect", ["rescue_write", "rescue_sync", "rescue_make"])
def test_what_cannot_be_saved_is_not_overwritten(pair: Pair, effect: str) -> None:
    (pair.a.tree / "both").write_text("common")
    winner, loser = split(pair)
    (loser.tree / "both").write_text("the loser's")
    (loser.tree / "only").write_text("the loser's")
    win(pair, winner, loser)
    (winner.tree / "both").write_text("the winner's words")
    loser.start()
    failing = {"effect": effect, "from": 1, "count": 1000, "what": {"fail": {"errno": 28}}}
    loser.command("faults", plan=[failing])
    loser.command("become_secondary", epoch=pair.epoch)
    loser.wait_until(lambda: loser.status()["failed"] is not None)
    assert (loser.raw / "both").read_text() == "the loser's"
    assert not winner.status()["peer_up_to_date"]
    loser.command("faults", plan=[])
    let_go(pair, winner)
    pair.in_sync(winner)
    same(pair)
    extract(loser, rescues(loser)[-1]["id"], pair.home / "found")
    assert (pair.home / "found" / "both").read_text() == "the loser's"
    assert (pair.home / "found" / "only").read_text() == "the loser's"


def test_on_another_disk_everything_is_copied(home: Path, small_disk: Path) -> None:
    pair = Pair(home)
    try:
        for engine in (pair.a, pair.b):
            engine.config["state_dir"] = str(small_disk / engine.name)
        winner, loser = diverged(pair, 100_000, 4)
        was = copy_of(loser.tree, pair.home / "was")
        pair.in_sync(winner)
        (rescue,) = rescues(loser)
        assert rescue["path"].startswith(str(small_disk))
        found = pair.home / "found"
        assert extract(loser, rescue["id"], found)["files"] == 4
        for number in range(4):
            name = f"only{number}"
            assert (found / name).stat().st_size == 100_000
            if (was / name).exists():
                assert (found / name).read_bytes() == (was / name).read_bytes()
    finally:
        pair.close()


@pytest.fixture
def sharing_disk(home: Path) -> Iterator[Path]:
    """A file system of its own that can share blocks."""
    place, image = home / "xfs", home / "xfs.img"
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("needs mkfs.xfs")
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False)
    if mounted.returncode:
        pytest.skip("xfs cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)
        shutil.rmtree(home, ignore_errors=True)


def test_where_blocks_can_be_shared_a_large_file_is_kept_whole(
    home: Path, sharing_disk: Path
) -> None:
    pair = Pair(home, rescue={"whole_file_bytes": 1 << 20, "reserve_bytes": 0})
    try:
        for engine in (pair.a, pair.b):
            engine.tree = sharing_disk / f"{engine.name}-tree"
            engine.tree.mkdir()
            engine.config["trees"] = [{"path": str(engine.tree)}]
            engine.config["state_dir"] = str(sharing_disk / engine.name)
        (pair.a.tree / "image").write_bytes(os.urandom(24 << 20))
        winner, loser = split(pair)
        with (loser.tree / "image").open("r+b") as file:
            file.seek(7 << 20)
            file.write(b"only the loser wrote this")
        was = (loser.tree / "image").read_bytes()
        win(pair, winner, loser)
        follow(pair, loser)
        pair.in_sync(winner)
        (rescue,) = rescues(loser)
        assert rescue["by_zones"] == 0 and rescue["files"] == 1
        assert extract(loser, rescue["id"], pair.home / "found")["partial"] == []
        assert (pair.home / "found" / "image").read_bytes() == was
    finally:
        pair.close()
