"""A resync that was cut goes on: what is equal and on the other disk is not looked at again."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair

# The copy is changed behind the engine's back, which no map knows of.
without_map = pytest.mark.parametrize("pair", [{"dirty_map": False}], indirect=True)

MIB = 1 << 20
FILES = 6
FILE_MIB = 16
ALL = FILES * FILE_MIB * MIB
EXT4_IOC_SHUTDOWN = 0x8004587D


def resync(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = pair.a.status()["resync"] or {}
    return found


def begin(pair: Pair) -> None:
    for number in range(FILES):
        contents = random.Random(number).randbytes(FILE_MIB * MIB)
        (pair.a.tree / f"file{number}").write_bytes(contents)
    pair.start()
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    for number in range(FILES):
        (pair.b.tree / f"file{number}").write_bytes(bytes([number + 1]) * FILE_MIB * MIB)
    pair.a.command("set_resync_limit", bytes_per_s=20 * MIB)
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)
    half = ALL // 2
    pair.a.wait_until(lambda: resync(pair).get("bytes_durable", 0) >= half, 30)


def looked_at_again(pair: Pair) -> int:
    """Lets the second resync end; returns what it looked at."""
    pair.a.wait_until(lambda: resync(pair).get("bytes_total") is not None, 20)
    skipped = int(resync(pair)["bytes_skipped"])
    pair.a.command("set_resync_limit", bytes_per_s=None)
    pair.in_sync(pair.a)
    return ALL - skipped


@without_map
@pytest.mark.parametrize("cut", ["second", "link"])
def test_a_cut_at_half_does_not_begin_at_zero(pair: Pair, cut: str) -> None:
    begin(pair)
    if cut == "second":
        pair.b.kill()
        pair.a.wait_status(link="down")
        pair.b.start()
        pair.b.command("become_secondary", epoch=pair.epoch)
    else:
        pair.a.command("continue_alone", epoch=pair.next_epoch())
    again = looked_at_again(pair)
    assert ALL * 0.2 < again <= ALL * 0.55, again / ALL
    same(pair)


@without_map
def test_what_changes_after_it_was_done_is_looked_at_again(pair: Pair) -> None:
    """Renamed, exchanged, rewritten while the secondary is away: none of it is taken for done."""
    begin(pair)
    pair.b.kill()
    pair.a.wait_status(link="down")
    rng = random.Random(1)
    files = [pair.a.tree / f"file{number}" for number in range(FILES)]
    for file in files[:2]:
        with file.open("r+b") as opened:
            for _ in range(5):
                opened.seek(rng.randrange(FILE_MIB * MIB))
                opened.write(rng.randbytes(5000))
    aside = pair.a.tree / "aside"
    files[2].rename(aside)
    files[3].rename(files[2])
    aside.rename(files[3])
    shutil.copyfile(files[4], aside)
    aside.rename(files[4])
    files[5].unlink()
    files[5].write_bytes(rng.randbytes(FILE_MIB * MIB))
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.a.command("set_resync_limit", bytes_per_s=None)
    pair.in_sync(pair.a)
    same(pair)


def lose_power(place: Path) -> None:
    """The file system below forgets what is not on its disk, and takes nothing more."""
    going_down_without_flush = 2
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", going_down_without_flush))
    finally:
        os.close(descriptor)


@pytest.fixture
def disk(home: Path) -> Iterator[Path]:
    place, image = home / "disk", home / "disk.img"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)
        shutil.rmtree(home, ignore_errors=True)


def test_after_a_power_cut_of_the_second_only_what_its_disk_has_counts(
    home: Path, disk: Path
) -> None:
    pair = Pair(home, dirty_map=False)
    try:
        (disk / "tree").mkdir()
        pair.b.config["trees"] = [{"path": str(disk / "tree")}]
        pair.b.tree = disk / "tree"
        begin(pair)
        lose_power(disk)
        pair.b.kill()
        subprocess.run(["umount", str(disk)], check=True)
        subprocess.run(["mount", "-o", "loop", str(home / "disk.img"), str(disk)], check=True)
        pair.a.wait_status(link="down")
        if pair.a.status()["frozen"]:
            pair.a.command("continue_alone", epoch=pair.next_epoch())
        pair.b.start()
        pair.b.command("become_secondary", epoch=pair.epoch)
        again = looked_at_again(pair)
        assert ALL * 0.2 < again <= ALL * 0.55, again / ALL
        same(pair)
    finally:
        pair.close()
