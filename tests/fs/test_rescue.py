"""After a split brain: what only the loser had is found again, whole, in its rescue."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
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
    told,
    win,
)
from tests.fs.test_resync import fill, loaded
from twofold import _mirror

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("seed", range(4))
def test_what_only_the_loser_had_is_found_whole(pair: Pair, seed: int) -> None:
    fill(pair.a.tree, seed + 500)
    winner, loser = split(pair)
    fill(loser.tree, seed + 600, 200)
    win(pair, winner, loser)
    fill(winner.tree, seed + 700, 200)
    was = copy_of(loser.tree, pair.home / "was")
    winners = copy_of(winner.tree, pair.home / "winners")
    with loaded(winner.tree, seed):
        follow(pair, loser)
        pair.in_sync(winner)
    same(pair)
    (rescue,) = rescues(loser)
    assert rescue["state"] == "complete" and rescue["reason"] == "diverged"
    done = extract(loser, rescue["id"], pair.home / "found")
    assert not done["damaged"] and not done["partial"] and not done["left_out"]
    assert assert_found(was, winners, pair.home / "found") > 0
    assert rescues(winner) == []


def test_odd_names_and_kinds_come_back(pair: Pair) -> None:
    (pair.a.tree / "kept").write_text("both have it")
    winner, loser = split(pair)
    tree = loser.tree
    folder = Path(os.fsdecode(os.fsencode(tree) + b"/odd \xff%41\n"))
    folder.mkdir()
    os.chown(folder, 5, 6)
    (folder / "file").write_text("only here")
    os.link(folder / "file", tree / "second name")
    os.setxattr(folder / "file", "user.note", b"\x00\xff")
    (folder / "link").symlink_to("nowhere/ÄÖ%")
    os.mkfifo(folder / "fifo", 0o640)
    os.mknod(folder / "device", 0o20604, os.makedev(1, 5))
    (folder / "empty").mkdir(mode=0o751)
    with (folder / "sparse").open("wb") as file:
        file.truncate(5 << 30)
        file.seek(3 << 30)
        file.write(b"far out")
    (folder / "file").chmod(0o4711)
    os.utime(folder / "empty", ns=(1, 1_234_567_890_123_456_789))
    win(pair, winner, loser)
    was = copy_of(loser.tree, pair.home / "was")
    follow(pair, loser)
    pair.in_sync(winner)
    same(pair)
    (rescue,) = rescues(loser)
    found = pair.home / "found"
    done = extract(loser, rescue["id"], found)
    assert not done["damaged"] and not done["partial"], done
    odd = Path(os.fsdecode(b"odd \xff%41\n"))
    for below in (odd, odd / "file", odd / "link", odd / "fifo", odd / "device", odd / "empty"):
        assert told(found / below) == told(was / below), below
    assert (found / "second name").samefile(found / odd / "file")
    assert (found / odd / "empty").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (found / odd / "sparse").stat().st_size == 5 << 30
    assert (found / odd / "sparse").stat().st_blocks < 64
    with (found / odd / "sparse").open("rb") as file:
        file.seek(3 << 30)
        assert file.read(7) == b"far out"
    assert not (found / "kept").exists()


@pytest.mark.parametrize("pair", [{"rescue": {"whole_file_bytes": 1 << 20}}], indirect=True)
def test_large_files_are_saved_by_zones_also_what_live_writes_would_destroy(pair: Pair) -> None:
    large = bytearray(random.Random(1).randbytes(12 << 20))
    (pair.a.tree / "image").write_bytes(large)
    winner, loser = split(pair)
    with (loser.tree / "image").open("r+b") as file:
        file.seek(9 << 20)
        file.write(b"only the loser wrote this")
    was = (loser.tree / "image").read_bytes()
    times = (loser.tree / "image").stat().st_mtime_ns
    win(pair, winner, loser)
    with (winner.tree / "image").open("r+b") as file:
        follow(pair, loser)
        # While it is copied the application writes in front of the copy and behind it.
        rng = random.Random(2)
        while not winner.status()["peer_up_to_date"]:
            file.seek(rng.randrange(12 << 20))
            file.write(rng.randbytes(5000))
            file.flush()
    pair.in_sync(winner)
    same(pair)
    (rescue,) = rescues(loser)
    assert rescue["by_zones"] == 1
    done = extract(loser, rescue["id"], pair.home / "found", with_current=True)
    assert done["partial"] == ["image"] and not done["damaged"]
    found = pair.home / "found" / "image"
    assert found.read_bytes() == was
    assert found.stat().st_mtime_ns == times
    bare = extract(loser, rescue["id"], pair.home / "bare")
    assert bare["partial"] == ["image"]
    with (pair.home / "bare" / "image").open("rb") as file:
        file.seek(9 << 20)
        assert file.read(25) == b"only the loser wrote this"


@pytest.mark.parametrize("seed", range(3))
def test_a_resync_that_is_cut_goes_on_saving(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    fill(pair.a.tree, seed + 800)
    for number in range(40):
        (pair.a.tree / f"n{number}").write_bytes(rng.randbytes(rng.randrange(300_000)))
    winner, loser = split(pair)
    for number in range(0, 40, 2):
        (loser.tree / f"n{number}").write_bytes(rng.randbytes(rng.randrange(300_000)))
    fill(loser.tree, seed + 900, 200)
    win(pair, winner, loser)
    was = copy_of(loser.tree, pair.home / "was")
    winners = copy_of(winner.tree, pair.home / "winners")
    winner.config["resync_limit_bytes_per_s"] = 8 << 20
    winner.kill()
    winner.start()
    winner.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True, first=False)
    with loaded(winner.tree, seed):
        for _ in range(5):
            follow(pair, loser)
            loser.wait_until(lambda: bool(rescues(loser)))
            loser.wait_until(lambda: True)
            loser.wait_until(lambda: loser.status()["generation"]["sync_target"])
            pause = rng.random() * 0.4
            subprocess.run(["sleep", str(pause)], check=True)
            loser.kill()
            (cut,) = rescues(loser)
            if cut["state"] == "complete":
                break
            shutil.rmtree(pair.home / "half", ignore_errors=True)
            half = extract(loser, cut["id"], pair.home / "half")
            assert not half["damaged"]
        let_go(pair, winner)
        follow(pair, loser)
        pair.in_sync(winner, 60)
    same(pair)
    rescue = rescues(loser)[0]
    assert rescue["state"] == "complete"
    done = extract(loser, rescue["id"], pair.home / "found")
    assert not done["damaged"] and not done["partial"], done
    assert assert_found(was, winners, pair.home / "found") > 0


def test_a_copy_that_is_only_older_needs_no_rescue(pair: Pair) -> None:
    fill(pair.a.tree, 3)
    pair.start()
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    fill(pair.a.tree, 4)
    follow(pair, pair.b)
    pair.in_sync(pair.a)
    same(pair)
    assert rescues(pair.b) == []


def test_who_stays_and_has_written_nothing_is_followed_all_the_same(pair: Pair) -> None:
    """Or an idle application would keep the pair apart until its first write."""
    (pair.a.tree / "common").write_text("common")
    winner, loser = split(pair)
    (loser.tree / "alone").write_text("acknowledged by the loser alone")
    win(pair, winner, loser, writes=False)
    follow(pair, loser)
    pair.in_sync(winner)
    same(pair)
    assert not (winner.tree / "alone").exists()
    (rescue,) = rescues(loser)
    assert rescue["state"] == "complete" and rescue["reason"] == "diverged"
    extract(loser, rescue["id"], pair.home / "found")
    assert (pair.home / "found" / "alone").read_text() == "acknowledged by the loser alone"


def test_what_stood_there_before_the_first_copy_is_saved_too(pair: Pair) -> None:
    (pair.a.tree / "data").write_text("the good data")
    (pair.b.tree / "data").write_text("an older installation")
    (pair.b.tree / "notes").write_text("of somebody")
    pair.start()
    same(pair)
    (rescue,) = rescues(pair.b)
    assert rescue["reason"] == "never_replicated"
    extract(pair.b, rescue["id"], pair.home / "found")
    assert (pair.home / "found" / "data").read_text() == "an older installation"
    assert (pair.home / "found" / "notes").read_text() == "of somebody"


BOUNDED = {"rescue": {"limit_bytes": 1 << 20, "reserve_bytes": 0}}


@pytest.mark.parametrize("pair", [BOUNDED], indirect=True)
def test_without_room_nothing_more_is_overwritten(pair: Pair) -> None:
    winner, loser = diverged(pair, 400_000, 5)
    loser.wait_until(lambda: loser.status()["failed"] is not None)
    text = loser.status()["failed"]["text"]
    assert "rescue_limit" in text and "go_on" in text
    assert not winner.status()["peer_up_to_date"]
    (rescue,) = rescues(loser)
    assert rescue["state"] == "incomplete" and rescue["files"] > 0
    # A person decides: more room, and everything is there.
    loser.stop()
    loser.config["rescue"] = {"limit_bytes": 1 << 30, "reserve_bytes": 0}
    let_go(pair, winner)
    follow(pair, loser)
    pair.in_sync(winner)
    same(pair)
    (rescue,) = rescues(loser)
    assert rescue["state"] == "complete"
    assert extract(loser, rescue["id"], pair.home / "found")["files"] == 5


@pytest.mark.parametrize(
    "pair", [{"rescue": BOUNDED["rescue"] | {"when_full": "go_on"}}], indirect=True
)
def test_told_to_go_on_it_writes_down_what_was_left_out(pair: Pair) -> None:
    winner, loser = diverged(pair, 400_000, 5)
    pair.in_sync(winner)
    same(pair)
    (rescue,) = rescues(loser)
    assert rescue["state"] == "complete" and rescue["left_out_bytes"] > 0
    assert rescue["bytes"] <= 1 << 20
    done = extract(loser, rescue["id"], pair.home / "found")
    assert done["left_out"] and done["files"] == 5


@pytest.mark.parametrize("pair", [{"rescue": {"keep": 2, "reserve_bytes": 0}}], indirect=True)
def test_the_oldest_goes_when_there_are_too_many(pair: Pair) -> None:
    winner, loser = diverged(pair, 1000, 3)
    pair.in_sync(winner)
    seen = [rescues(loser)[0]["id"]]
    for number in range(2):
        loser.kill()
        winner.wait_status(link="down")
        winner.command("continue_alone", epoch=pair.next_epoch())
        (winner.tree / f"w{number}").write_text("w")
        winner.kill()
        loser.start()
        loser.command(
            "become_primary", epoch=pair.next_epoch(), alone=True, force=True, first=False
        )
        (loser.tree / f"l{number}").write_text("l")
        loser.kill()
        winner.start()
        winner.command(
            "become_primary", epoch=pair.next_epoch(), alone=True, force=True, first=False
        )
        follow(pair, loser)
        pair.in_sync(winner)
        seen.append(rescues(loser)[-1]["id"])
    assert [r["id"] for r in rescues(loser)] == seen[1:]
    assert rescues(loser)[-1]["removed"] == seen[:1]


def test_bad_input_is_a_sentence_and_changes_nothing(pair: Pair) -> None:
    winner, loser = diverged(pair, 1000, 1)
    pair.in_sync(winner)
    (rescue,) = rescues(loser)
    (pair.home / "full").mkdir()
    (pair.home / "full" / "x").write_text("x")
    name = rescue["id"]
    for wrong, into, word in (
        ("20200101T000000Z-0000000000000000", pair.home / "new", "there is no rescue"),
        ("../../etc", pair.home / "new", "there is no rescue"),
        (name, Path("relative"), "absolute"),
        (name, loser.tree / "here", "choose a directory outside"),
        (name, pair.home, "choose a directory outside"),
        (name, pair.home / "full", "not empty"),
        (name, pair.home / "no" / "such", "does not exist"),
    ):
        with pytest.raises(ValueError, match=word):
            extract(loser, wrong, into)
        assert not (pair.home / "new").exists()
    with pytest.raises(ValueError, match="there is no rescue"):
        _mirror.rescue_delete(loser.config["state_dir"], "..")
    _mirror.rescue_delete(loser.config["state_dir"], name)
    assert rescues(loser) == []


def test_the_manifest_is_damaged(pair: Pair) -> None:
    winner, loser = diverged(pair, 5000, 1)
    pair.in_sync(winner)
    (rescue,) = rescues(loser)
    (data,) = (Path(rescue["path"]) / "data").iterdir()
    with data.open("r+b") as file:
        file.write(b"flipped")
    done = extract(loser, rescue["id"], pair.home / "found")
    assert done["damaged"] == ["only0"]
    (Path(rescue["path"]) / "about.json").write_text("{")
    assert rescues(loser)[0]["state"] == "damaged"
