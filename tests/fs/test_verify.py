"""Both copies compared while they are in use: what was changed behind the engine's back is found,
nothing else is, and a repair mends it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair, Refused
from tests.fs.test_resync import fill, loaded

pytestmark = pytest.mark.timeout(240)  # a terabyte of holes is looked at
MIB = 1 << 20


def verify(pair: Pair, repair: bool = False, timeout_s: float = 120) -> dict[str, Any]:
    pair.a.command("verify", repair=repair)
    pair.a.wait_until(lambda: pair.a.status()["verify"]["state"] != "running", timeout_s)
    result: dict[str, Any] = pair.a.command("verify_result")["verify"]
    assert result["state"] == "done", result
    return result


def found(result: dict[str, Any]) -> dict[str, set[str]]:
    return {d["path"]: set(d["what"]) for d in result["differences"]}


def quiet_files(root: Path) -> None:
    """Files that the load leaves alone."""
    quiet = root / "quiet"
    (quiet / "directory" / "inner").mkdir(parents=True)
    rng = random.Random(1)
    for name in ("small", "mode", "owner", "time", "xattr", "gone", "kind", "long", "short"):
        (quiet / name).write_bytes(rng.randbytes(3000))
    (quiet / "large").write_bytes(rng.randbytes(5 * MIB + 17))
    (quiet / "directory" / "inner" / "file").write_bytes(rng.randbytes(100))
    with (quiet / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(3 << 38)
        file.write(b"far out")
    (quiet / "link").symlink_to("small")


def damage(root: Path) -> dict[str, set[str]]:
    """Behind the engine's back; returns what is to be found."""
    quiet = root / "quiet"
    keep_time(quiet / "small", lambda p: write_at(p, 1000, b"\0" + os.urandom(4)))
    keep_time(quiet / "large", lambda p: write_at(p, 3 * MIB + 5, b"12345"))
    keep_time(quiet / "sparse", lambda p: write_at(p, 1 << 39, b"x"))
    (quiet / "mode").chmod(0o4711)
    os.chown(quiet / "owner", 7, 8)
    os.utime(quiet / "time", ns=(5, 5))
    os.setxattr(quiet / "xattr", "user.more", b"1")
    keep_time(quiet / "long", lambda p: write_at(p, 3000, b"more"))
    keep_time(quiet / "short", lambda p: os.truncate(p, 2000))
    times = {p: p.stat() for p in (quiet, quiet / "directory")}
    (quiet / "gone").unlink()
    (quiet / "link").unlink()
    (quiet / "link").symlink_to("elsewhere")
    (quiet / "kind").unlink()
    (quiet / "kind").mkdir()
    shutil.rmtree(quiet / "directory" / "inner")
    (quiet / "extra").mkdir()
    (quiet / "extra" / "inside").write_text("x")
    for path, stat in times.items():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (quiet / "directory").chmod(0o700)
    return {
        "quiet/small": {"contents"},
        "quiet/large": {"contents"},
        "quiet/sparse": {"contents"},
        "quiet/mode": {"mode"},
        "quiet/owner": {"owner"},
        "quiet/time": {"mtime"},
        "quiet/xattr": {"xattr"},
        "quiet/long": {"size"},
        "quiet/short": {"size"},
        "quiet/gone": {"missing"},
        "quiet/link": {"kind"},
        "quiet/kind": {"kind"},
        "quiet/directory": {"mode"},
        "quiet/directory/inner": {"missing"},
        "quiet/extra": {"extra"},
    }


def write_at(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def keep_time(path: Path, change: Callable[[Path], object]) -> None:
    stat = path.stat()
    change(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_copy_that_is_equal_has_no_differences(pair: Pair) -> None:
    fill(pair.a.tree, 5)
    quiet_files(pair.a.tree)
    pair.start()
    result = verify(pair)
    assert found(result) == {}
    assert result["files"] > 20
    assert result["bytes"] > 5 * MIB
    assert pair.a.status()["verify"]["differing"] == 0


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_every_damage_is_found_and_mended_under_load(pair: Pair, seed: int) -> None:
    fill(pair.a.tree, seed + 10)
    quiet_files(pair.a.tree)
    pair.start()
    with loaded(pair.a.tree, seed):
        wanted = damage(pair.b.raw)
        result = verify(pair)
        # A symbolic link and a directory made anew have another time too, and so on: at least it.
        assert found(result).keys() == wanted.keys(), result
        for path, what in wanted.items():
            assert what <= found(result)[path], (path, found(result)[path])
        large = next(d for d in result["differences"] if d["path"] == "quiet/large")
        assert large["zones"] == [[3 * MIB, MIB]]
        mended = verify(pair, repair=True)
        assert found(mended).keys() >= wanted.keys()
        assert mended["repaired"] >= len(wanted)
        again = verify(pair)
        assert found(again) == {}, again
    same(pair)
    assert pair.a.status()["link"] == "up", "no resync was needed"
    assert pair.a.status()["counters"]["resyncs"] == 1
    assert (pair.b.raw / "quiet" / "sparse").stat().st_blocks < 4096, "holes stay holes"
    assert not (pair.b.raw / ".twofold-aside").exists()


@pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
def test_no_false_alarm_under_load(pair: Pair) -> None:
    fill(pair.a.tree, 77)
    (pair.a.tree / "large").write_bytes(random.Random(4).randbytes(20 * MIB))
    pair.start()
    rounds = looked_twice = 0
    until = time.monotonic() + 8
    with loaded(pair.a.tree, 78):
        while time.monotonic() < until:
            result = verify(pair)
            assert found(result) == {}, result
            rounds += 1
            looked_twice += result["looked_twice"]
    assert rounds > 3
    assert looked_twice > rounds, "the load was in the way, so this test shows something"
    same(pair)


def append(path: Path, stop: threading.Event) -> None:
    with path.open("ab", buffering=0) as file:
        while not stop.is_set():
            file.write(b"x" * 100)
            if file.tell() > 100_000:
                file.truncate(0)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_times_that_are_on_their_way_are_no_difference(pair: Pair) -> None:
    """On a machine where threads wait for a processor between any two steps."""
    pair.start()
    stop = threading.Event()
    paths = [pair.a.tree / f"file{number}" for number in range(4)]
    writers = [threading.Thread(target=append, args=(path, stop)) for path in paths]
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(5)]
    try:
        for writer in writers:
            writer.start()
        for _ in range(1200):
            result = verify(pair)
            assert found(result) == {}, result
        assert all(writer.is_alive() for writer in writers), "one was refused, and ended"
    finally:
        stop.set()
        for process in busy:
            process.kill()
            process.wait()
        for writer in writers:
            writer.join(30)
    same(pair)


def test_the_result_is_kept_over_a_restart(pair: Pair) -> None:
    (pair.a.tree / "file").write_text("x")
    pair.start()
    keep_time(pair.b.raw / "file", lambda p: p.write_text("y"))
    assert found(verify(pair)) == {"file": {"contents"}}
    pair.a.stop()
    pair.a.start()
    kept = pair.a.status()["verify"]
    assert kept["state"] == "done"
    assert kept["differences"][0]["path"] == "file"


def test_it_is_refused_where_it_cannot_be_done(pair: Pair) -> None:
    pair.start()
    with pytest.raises(Refused, match="not_primary"):
        pair.b.command("verify")
    pair.b.stop()
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    with pytest.raises(Refused, match="no_secondary"):
        pair.a.command("verify")


@pytest.mark.parametrize("pair", [{"verify_limit_bytes_per_s": 4 * MIB}], indirect=True)
def test_the_limit_is_kept_and_it_can_be_stopped(pair: Pair) -> None:
    (pair.a.tree / "large").write_bytes(random.Random(4).randbytes(40 * MIB))
    pair.start()
    pair.a.command("verify")
    time.sleep(2)
    status = pair.a.status()["verify"]
    assert status["state"] == "running"
    assert status["bytes"] < 16 * MIB
    with pytest.raises(Refused, match="busy"):
        pair.a.command("verify")
    pair.a.command("stop_verify")
    pair.a.wait_until(lambda: pair.a.status()["verify"]["state"] == "cut_short")
    assert pair.a.status()["verify"]["why"] == "it was stopped"


def test_a_secondary_that_dies_cuts_it_short(pair: Pair) -> None:
    (pair.a.tree / "large").write_bytes(random.Random(4).randbytes(40 * MIB))
    pair.a.config["verify_limit_bytes_per_s"] = 4 * MIB
    pair.start()
    pair.a.command("verify")
    time.sleep(0.3)
    pair.b.kill()
    pair.a.wait_until(lambda: pair.a.status()["verify"]["state"] == "cut_short", 20)
    assert "link" in pair.a.status()["verify"]["why"]
