"""A resync looks only at what may differ, after each kind of absence, and never at less."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair

pytestmark = pytest.mark.parametrize("pair", [{"faults": [], "dirty_map": True}], indirect=True)

MIB = 1 << 20
FILES = 400
BIG_MIB = 48
BEFORE_MIB = 100


def fill(root: Path) -> None:
    """Enough that a comparison of everything cannot be mistaken for one of a part."""
    rng = random.Random(1)
    (root / "big").write_bytes(rng.randbytes(BIG_MIB * MIB))
    for number in range(FILES):
        folder = root / f"d{number % 10}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(rng.randbytes(3000))


def covered(engine: Engine) -> bool:
    """A checkpoint stands behind everything that was done."""
    doubt = engine.status()["doubt"]
    return bool(doubt["base_is_known"]) and doubt["names"] == 0 and doubt["files"] == 0


def begin(pair: Pair) -> None:
    fill(pair.a.tree)
    pair.start()
    pair.a.wait_until(lambda: covered(pair.a), 30)


def last(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.status()["last_resync"]
    return found


def change(root: Path, seed: int) -> None:
    """A bit of everything that can be done to a tree."""
    rng = random.Random(seed)
    with (root / "big").open("r+b") as big:
        for _ in range(3):
            big.seek(rng.randrange(BIG_MIB * MIB - 5000))
            big.write(rng.randbytes(4000))
    deep = root / f"d{rng.randrange(5)}" / "deep"
    files = sorted(path for path in deep.iterdir() if path.name.startswith("f"))
    rng.shuffle(files)
    files[0].write_bytes(b"new contents")
    files[1].rename(deep / f"renamed {seed}")
    files[2].rename(root / f"moved {seed}")
    files[3].unlink()
    files[4].chmod(0o600)
    os.utime(files[5], ns=(1, 123456789))
    os.setxattr(files[6], "user.seed", str(seed).encode())
    os.link(files[7], root / f"link {seed}")
    os.truncate(files[8], 1000)
    files[9].replace(files[10])
    fresh = root / f"fresh {seed}"
    (fresh / "sub").mkdir(parents=True)
    (fresh / "sub" / "file").write_bytes(rng.randbytes(5000))
    (fresh / "link").symlink_to("sub/file")
    os.mkfifo(fresh / "fifo")
    with (fresh / "sparse").open("wb") as sparse:
        sparse.truncate(3 * MIB)
        sparse.seek(2 * MIB)
        sparse.write(b"in the middle")
    directory = root / f"d{5 + seed % 5}"
    if directory.exists():
        directory.rename(root / f"dir {seed}")
        if seed % 2:
            shutil.rmtree(root / f"dir {seed}" / "deep")


def small(pair: Pair, primary: Engine, looked_at_max: int = 20 * MIB) -> None:
    """The resync that has just ended looked at a part only."""
    pair.in_sync(primary)
    resync = last(primary)
    assert resync["only_doubt"], f"{resync}\n{pair.a.log()[-3000:]}\n{pair.b.log()[-3000:]}"
    assert resync["bytes_looked_at"] <= looked_at_max, resync
    assert resync["files"] < FILES // 2, resync
    same(pair)


def has_sent(engine: Engine) -> bool:
    """A resync runs, and is in the midst of what differs."""
    resync: dict[str, Any] | None = engine.status()["resync"]
    return resync is not None and resync["bytes_sent"] > 0


def goes_alone(pair: Pair) -> None:
    pair.a.wait_status(link="down")
    if pair.a.status()["frozen"]:
        pair.a.command("continue_alone", epoch=pair.next_epoch())


def comes_back(pair: Pair, engine: Engine) -> None:
    if engine.process is None:
        engine.start()
    engine.command("become_secondary", epoch=pair.epoch)


def stop_second(pair: Pair) -> None:
    pair.b.stop()


def crash_second(pair: Pair) -> None:
    pair.b.kill()


@pytest.mark.long
@pytest.mark.parametrize("absence", [stop_second, crash_second])
def test_what_changed_in_an_absence_of_the_second(
    pair: Pair, absence: Callable[[Pair], None]
) -> None:
    begin(pair)
    change(pair.a.tree, 1)
    absence(pair)
    goes_alone(pair)
    change(pair.a.tree, 2)
    comes_back(pair, pair.b)
    small(pair, pair.a)
    pair.a.wait_until(lambda: covered(pair.a), 30)
    # And the same again from here.
    absence(pair)
    goes_alone(pair)
    change(pair.a.tree, 3)
    comes_back(pair, pair.b)
    small(pair, pair.a)


@pytest.mark.long
def test_a_link_that_was_cut(pair: Pair) -> None:
    begin(pair)
    change(pair.a.tree, 1)
    assert pair.b.process is not None
    pair.b.process.send_signal(signal.SIGSTOP)
    goes_alone(pair)
    change(pair.a.tree, 2)
    resyncs = pair.a.status()["counters"]["resyncs"]
    pair.b.process.send_signal(signal.SIGCONT)
    pair.a.wait_until(lambda: pair.a.status()["counters"]["resyncs"] > resyncs)
    small(pair, pair.a)


@pytest.mark.long
def test_the_primary_restarts_alone(pair: Pair) -> None:
    """Both sets survive the process: the primary's own is read from its disk."""
    begin(pair)
    pair.b.stop()
    goes_alone(pair)
    change(pair.a.tree, 1)
    pair.a.kill()
    pair.a.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True)
    change(pair.a.tree, 2)
    comes_back(pair, pair.b)
    small(pair, pair.a, 30 * MIB)


def test_the_primary_crashes_and_comes_back_as_second(pair: Pair) -> None:
    begin(pair)
    change(pair.a.tree, 1)
    pair.a.kill()
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    change(pair.b.tree, 2)
    comes_back(pair, pair.a)
    small(pair, pair.b, 30 * MIB)


@pytest.mark.long
def test_both_went_on_alone(pair: Pair) -> None:
    begin(pair)
    pair.b.kill()
    goes_alone(pair)
    change(pair.a.tree, 1)
    pair.a.kill()
    pair.b.start()
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True)
    change(pair.b.tree, 2)
    comes_back(pair, pair.a)
    small(pair, pair.b, 30 * MIB)
    assert pair.a.status()["rescue"]["kept"] == 1


def flipped(path: Path) -> None:
    """A page and its twin: one alone does no harm."""
    with path.open("r+b") as file:
        for page in (0, 1):
            file.seek(page * 4096 + 30)
            file.write(b"?")


@pytest.mark.long
@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("harm", [Path.unlink, flipped], ids=["lost", "damaged"])
def test_without_a_sound_map_everything_is_compared(
    pair: Pair, node: str, harm: Callable[[Path], None]
) -> None:
    begin(pair)
    pair.b.kill()
    goes_alone(pair)
    change(pair.a.tree, 1)
    pair.a.kill()
    engine = pair.a if node == "a" else pair.b
    harm(engine.home / "state" / "dirty-map")
    # What no map would have told of.
    raw = pair.b.tree / "d1" / "deep" / "f1"
    raw.write_bytes(b"x" * 3000)
    pair.a.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True)
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    assert not last(pair.a)["only_doubt"]
    same(pair)


@pytest.mark.long
def test_a_swap_leaves_nothing_out(pair: Pair) -> None:
    """The set of the old primary is not lost with its role."""
    begin(pair)
    change(pair.a.tree, 1)
    pair.a.command("become_secondary", epoch=pair.next_epoch())
    pair.b.command("become_primary", epoch=pair.epoch)
    pair.in_sync(pair.b)
    change(pair.b.tree, 2)
    pair.b.wait_until(lambda: covered(pair.b), 30)
    change(pair.b.tree, 3)
    pair.a.kill()
    pair.b.wait_status(link="down")
    pair.b.command("continue_alone", epoch=pair.next_epoch())
    change(pair.b.tree, 4)
    comes_back(pair, pair.a)
    small(pair, pair.b, 30 * MIB)


@pytest.mark.long
def test_live_changes_in_a_resync_of_a_part(pair: Pair) -> None:
    """What the application does meanwhile, to what is in doubt and to what is not."""
    begin(pair)
    pair.b.kill()
    goes_alone(pair)
    change(pair.a.tree, 1)
    rng = random.Random(5)
    with (pair.a.tree / "big").open("r+b") as big:
        big.write(rng.randbytes(BIG_MIB * MIB))
    pair.a.command("set_resync_limit", bytes_per_s=15 * MIB)
    comes_back(pair, pair.b)
    pair.a.wait_until(lambda: has_sent(pair.a), 20)
    until = time.monotonic() + 2
    seed = 10
    while time.monotonic() < until:
        change(pair.a.tree, seed)
        seed += 1
        if seed > 13:
            break
    assert pair.a.status()["resync"] is not None, "too fast: nothing was changed in the resync"
    pair.a.command("set_resync_limit", bytes_per_s=None)
    small(pair, pair.a, 2 * BIG_MIB * MIB)


def test_a_file_changes_elsewhere_before_its_turn_has_come(pair: Pair) -> None:
    """Of a file in the plan not all is compared; what changes before it is begun is not sent."""
    begin(pair)
    late = pair.a.tree / "a late one"
    late.write_bytes(random.Random(3).randbytes(8 * MIB))
    os.truncate(late, 16 * MIB)
    pair.a.wait_until(lambda: covered(pair.a), 30)
    pair.b.kill()
    goes_alone(pair)
    with late.open("r+b") as file:
        file.write(b"in doubt")
    with (pair.a.tree / "big").open("r+b") as big:
        # More than is asked for at once (64 zones): so no other file is begun.
        big.write(random.Random(5).randbytes(BEFORE_MIB * MIB))
    pair.a.command("set_resync_limit", bytes_per_s=10 * MIB)
    comes_back(pair, pair.b)
    pair.a.wait_until(lambda: has_sent(pair.a), 20)
    with late.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"elsewhere")
        file.truncate(7 * MIB)
        file.truncate(15 * MIB)
    assert pair.a.status()["resync"] is not None, "too fast: nothing was changed in the resync"
    pair.a.command("set_resync_limit", bytes_per_s=None)
    small(pair, pair.a, (BEFORE_MIB + 16) * MIB)


EIO: Any = {"fail": {"errno": errno.EIO}}


@pytest.mark.long
@pytest.mark.parametrize("label", ["map_write", "map_sync"])
def test_a_map_that_cannot_be_written_is_given_up(pair: Pair, label: str) -> None:
    """The application does not feel it, and nothing is skipped because of it."""
    begin(pair)
    pair.a.command("faults", plan=[{"effect": label, "what": EIO}])
    change(pair.a.tree, 1)
    assert sum(pair.a.command("faults")["faults"]["struck"]) > 0
    pair.a.kill()
    assert not (pair.a.home / "state" / "dirty-map").exists()
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    change(pair.b.tree, 2)
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    assert not last(pair.b)["only_doubt"]
    same(pair)


def test_nothing_is_written_beside_a_map_that_cannot_go_either(pair: Pair) -> None:
    """A map on disk that lacks a change would be believed after a crash."""
    begin(pair)
    plan = [{"effect": label, "what": EIO} for label in ("map_write", "map_remove")]
    pair.a.command("faults", plan=plan)
    with pytest.raises(OSError, match="Input/output error"):
        (pair.a.tree / "d1" / "a new name").write_bytes(b"data")
    assert not (pair.a.raw / "d1" / "a new name").exists()
    pair.a.command("faults", plan=[])
    (pair.a.tree / "d1" / "a new name").write_bytes(b"data")
    pair.a.wait_until(lambda: covered(pair.a), 30)
    same(pair)


@pytest.mark.long
@pytest.mark.parametrize(
    ("label", "what"),
    [("map_write", "torn"), ("map_sync", "kill"), ("state_rename", "kill"), ("map_write", "half")],
)
def test_a_crash_while_the_map_is_written(pair: Pair, label: str, what: str) -> None:
    begin(pair)
    pair.a.command("faults", plan=[{"effect": label, "what": what, "from": 3}])
    with suppress(OSError):
        for seed in range(1, 4):
            change(pair.a.tree, seed)
            time.sleep(0.3)
    pair.a.kill()
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    same(pair)
