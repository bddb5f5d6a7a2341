"""The primary dies in mid-resync: where blocks can be shared, the copy from before comes back.

The secondary's tree lies on an XFS with reflink in an image of its own.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fs.engines import Pair, Refused
from tests.fs.load import RandomLoad
from tests.fs.test_resync import fill, loaded
from twofold.lab.compare import compare_trees

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20
SLOW = 3 * MIB


@pytest.fixture
def xfs(home: Path) -> Iterator[Path]:
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("needs mkfs.xfs")
    place, image = home / "xfs", home / "xfs.img"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount an XFS")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def pair_on_xfs(home: Path, xfs: Path) -> Iterator[Pair]:
    pair = Pair(home)
    (xfs / "tree").mkdir()
    pair.b.config["trees"] = [{"path": str(xfs / "tree")}]
    pair.b.tree = xfs / "tree"
    try:
        yield pair
    finally:
        pair.close()


def resync(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = pair.a.status()["resync"] or {}
    return found


def prepare(pair: Pair, seed: int) -> Path:
    """A pair in step, then parted, then the primary changed a lot; returns what b has."""
    fill(pair.a.tree, seed)
    (pair.a.tree / "large").write_bytes(random.Random(seed).randbytes(24 * MIB))
    (pair.a.tree / "outer" / "inner").mkdir(parents=True)
    (pair.a.tree / "outer" / "inner" / "file").write_text("x")
    pair.start()
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    saved = pair.home / "saved"
    subprocess.run(["cp", "-a", str(pair.b.tree), str(saved)], check=True)
    fill(pair.a.tree, seed + 1)
    (pair.a.tree / "large").write_bytes(random.Random(seed + 1).randbytes(30 * MIB))
    # A directory and the one around it change places.
    (pair.a.tree / "outer" / "inner").rename(pair.a.tree / "inner")
    (pair.a.tree / "outer").rename(pair.a.tree / "inner" / "outer")
    pair.a.command("set_resync_limit", bytes_per_s=SLOW)
    return saved


def follow_until(pair: Pair, bytes_sent: int) -> None:
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.a.wait_until(lambda: resync(pair).get("bytes_sent", 0) > bytes_sent)


def differences(saved: Path, pair: Pair) -> list[object]:
    return list(compare_trees(saved, pair.b.raw).differences)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("crash", ["no", "engine", "link"])
def test_the_copy_from_before_comes_back(pair_on_xfs: Pair, seed: int, crash: str) -> None:
    pair = pair_on_xfs
    saved = prepare(pair, seed * 10)
    pair.b.start()
    with loaded(pair.a.tree, seed):
        follow_until(pair, 4 * MIB)
    if crash == "engine":
        pair.b.kill()
        pair.b.start()
        follow_until(pair, 1 * MIB)
    if crash == "link":
        pair.a.command("continue_alone", epoch=pair.next_epoch())
        pair.a.wait_until(lambda: resync(pair).get("bytes_sent", 0) > MIB)
    assert differences(saved, pair), "the resync had changed nothing yet"
    pair.a.kill()
    pair.b.wait_status(link="down")
    status = pair.b.status()
    assert (status["up_to_date"], status["worth"]) == (False, "mixture_over_kept")
    assert status["kept_copy"]["kept"]
    with pytest.raises(Refused, match="the older one from before it is kept"):
        pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    assert not pair.b.status()["up_to_date"]
    pair.b.command("become_primary", epoch=pair.epoch, alone=True, force=True)
    assert not differences(saved, pair)[:10]
    assert not (pair.b.raw / ".twofold-aside").exists()
    # What it serves now is a version of its own: never taken for newer than what was lost.
    load = RandomLoad(pair.b.tree, seed)
    for _ in range(50):
        load.step()
    pair.a.start()
    theirs = pair.a.status()["generation"]
    assert pair.b.command("reconcile", theirs=theirs)["relation"] == "diverged"


def test_a_kept_copy_goes_when_the_resync_has_ended(pair_on_xfs: Pair) -> None:
    pair = pair_on_xfs
    prepare(pair, 7)
    pair.b.start()
    follow_until(pair, MIB)
    assert pair.b.status()["kept_copy"]["kept"]
    pair.a.command("set_resync_limit", bytes_per_s=None)
    pair.in_sync(pair.a)
    pair.b.wait_status(kept_copy=None, worth="up_to_date")
    assert not (pair.b.raw / ".twofold-aside").exists()
    assert not compare_trees(pair.a.raw, pair.b.raw).differences


@pytest.mark.parametrize("pair", [{"dirty_map": False}], indirect=True)
def test_where_blocks_cannot_be_shared_the_status_says_so(pair: Pair) -> None:
    prepare(pair, 3)
    pair.b.start()
    follow_until(pair, MIB)
    kept = pair.b.status()["kept_copy"]
    assert not kept["kept"]
    assert "cannot share blocks between files (reflink)" in kept["text"]
    pair.a.kill()
    pair.b.wait_status(link="down", worth="mixture", up_to_date=False)
    time.sleep(0.1)
    with pytest.raises(Refused, match="its copy is not whole"):
        pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
