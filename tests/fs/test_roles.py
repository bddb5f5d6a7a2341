"""Who serves, who follows, and what a change of role does to data, caches and waiting writes."""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import PEER_TIMEOUT_MS, Engine, Pair, Refused

pytestmark = pytest.mark.timeout(90)


def swap(pair: Pair, old: Engine, new: Engine) -> None:
    epoch = pair.next_epoch()
    old.command("become_secondary", epoch=epoch)
    new.command("become_primary", epoch=pair.next_epoch(), alone=False)
    pair.in_sync(new)


def write_in_background(path: Path, text: str) -> tuple[threading.Thread, list[float]]:
    done: list[float] = []

    def write() -> None:
        path.write_text(text)
        done.append(time.monotonic())

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread, done


def test_an_engine_begins_read_only_and_serves_when_told(pair: Pair) -> None:
    (pair.a.tree / "there before").write_text("data")
    pair.a.start()
    assert (pair.a.tree / "there before").read_text() == "data"
    with pytest.raises(OSError, match="Read-only") as caught:
        (pair.a.tree / "new").write_text("x")
    assert caught.value.errno == errno.EROFS
    pair.a.command("become_primary", epoch=1, alone=True, first=True)
    (pair.a.tree / "new").write_text("x")
    assert (pair.a.raw / "new").read_text() == "x"


def test_the_second_is_read_only_and_shows_each_change(pair: Pair) -> None:
    pair.start()
    for round_number in range(20):
        (pair.a.tree / "file").write_text(f"{round_number}" * (round_number + 1))
        assert (pair.b.tree / "file").read_text() == f"{round_number}" * (round_number + 1)
    with pytest.raises(OSError) as caught:
        (pair.b.tree / "file").unlink()
    assert caught.value.errno == errno.EROFS


def test_after_take_over_everything_read_before_is_read_anew(pair: Pair) -> None:
    (pair.a.tree / "d").mkdir()
    (pair.a.tree / "d" / "old name").write_text("old contents")
    pair.start()
    seen = {p: p.read_bytes() for p in pair.b.tree.rglob("*") if p.is_file()}
    assert len(seen) == 1
    (pair.a.tree / "d" / "old name").write_text("new")
    (pair.a.tree / "d" / "old name").rename(pair.a.tree / "new name")
    pair.a.kill()
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    assert (pair.b.tree / "new name").read_text() == "new"
    assert not (pair.b.tree / "d" / "old name").exists()
    (pair.b.tree / "new name").write_text("newer")


def test_the_first_write_alone_tells_the_new_generation_at_once(pair: Pair) -> None:
    """The daemon says it in heartbeats: a node that compares must not compare with the old one."""
    pair.start()
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(pair.a.run_dir / "mirror.sock"))
        line.sendall(json.dumps({"id": 1, "command": "subscribe"}).encode() + b"\n")
        with line.makefile("rb") as news:
            before = None
            while before is None:
                told = json.loads(news.readline())
                before = told.get("status", {}).get("generation", {}).get("current")
            (pair.a.tree / "new").write_text("only here")
            begun_s, current = time.monotonic(), before
            while current == before:
                told = json.loads(news.readline())
                current = told.get("status", {}).get("generation", {}).get("current", before)
            assert time.monotonic() - begun_s < 0.5, "without a change it is told each second"


def test_names_seen_on_the_second_are_not_believed_after_a_take_over(pair: Pair) -> None:
    """What stands at a name there changes below the kernel, and below the engine's own memory."""
    (pair.a.tree / "first").write_text("the file that is renamed")
    pair.start()
    with (pair.b.tree / "first").open() as held:
        (pair.a.tree / "first").rename(pair.a.tree / "second")
        (pair.a.tree / "first").write_text("another file of the old name")
        swap(pair, pair.a, pair.b)
        (pair.b.tree / "second").write_text("changed under its new name")
        assert (pair.a.raw / "first").read_text() == "another file of the old name"
        same(pair)
        assert held.read() == "changed under its new name"


def test_swap_there_and_back_needs_no_resync(pair: Pair) -> None:
    pair.start()
    (pair.a.tree / "f").write_text("from a")
    swap(pair, pair.a, pair.b)
    assert (pair.b.tree / "f").read_text() == "from a"
    (pair.b.tree / "f").write_text("from b")
    (pair.b.tree / "g").mkdir()
    swap(pair, pair.b, pair.a)
    assert (pair.a.tree / "f").read_text() == "from b"
    (pair.a.tree / "g" / "h").write_text("deep")
    assert pair.a.status()["counters"]["resyncs"] == 1  # the first one only
    same(pair)


@pytest.mark.parametrize("pair", [{"sync": "fsync"}], indirect=True)
def test_an_orderly_change_of_role_brings_out_what_the_kernel_holds(pair: Pair) -> None:
    """Under the fsync policy written data lies in the kernel's cache, where we have not seen it."""
    pair.start()
    (pair.a.tree / "written").write_text("never synced" * 1000)
    with (pair.a.tree / "mapped").open("w+b") as file:
        file.truncate(1 << 20)
        with mmap.mmap(file.fileno(), 1 << 20) as mapped:
            mapped[5000:5006] = b"mapped"
    swap(pair, pair.a, pair.b)
    assert (pair.b.tree / "written").read_text() == "never synced" * 1000
    assert (pair.b.tree / "mapped").read_bytes()[5000:5006] == b"mapped"
    same(pair)


def test_writes_freeze_without_the_peer_until_told_to_go_on(pair: Pair) -> None:
    pair.start()
    (pair.a.tree / "before").write_text("x")
    pair.b.kill()
    pair.a.wait_status(frozen=True, link="down")
    thread, done = write_in_background(pair.a.tree / "waits", "y")
    time.sleep(0.5)
    assert not done, "a write was acknowledged that only one node has"
    assert (pair.a.tree / "before").read_text() == "x", "reads go on in a freeze"
    before = pair.a.status()["generation"]["current"]
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    thread.join(5)
    assert done
    status = pair.a.status()
    assert status["generation"]["current"] != before, "the first write alone makes a generation"
    assert status["generation"]["sole"] and status["alone"]


def test_a_black_holed_peer_freezes_the_primary_within_its_timeout(pair: Pair) -> None:
    pair.start()
    assert pair.b.process is not None
    os.kill(pair.b.process.pid, 19)  # SIGSTOP: the connection stays, nobody answers
    try:
        begun = time.monotonic()
        thread, done = write_in_background(pair.a.tree / "waits", "y")
        pair.a.wait_status(frozen=True, timeout_s=10)
        assert time.monotonic() - begun < PEER_TIMEOUT_MS / 1000 + 1
        assert not done
        pair.a.command("continue_alone", epoch=pair.next_epoch())
        thread.join(5)
        assert done
    finally:
        os.kill(pair.b.process.pid, 18)
    pair.in_sync(pair.a)
    same(pair)


def test_a_short_cut_of_the_link_is_resumed_without_a_resync(pair: Pair) -> None:
    pair.start()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            (pair.a.tree / f"f{number % 50}").write_text(str(number))
            number += 1

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.2)
            pair.b.command("become_secondary", epoch=pair.epoch)
            # A second connection from the same node takes the place of the first: a cut.
            port = pair.a.config["listen"][0].split(":")[1]
            subprocess.run(["ss", "-K", "dport", "=", port], capture_output=True)
        time.sleep(0.5)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    pair.in_sync(pair.a)
    assert pair.a.status()["counters"]["resyncs"] == 1
    same(pair)


def test_stale_epochs_and_wrong_moments_are_refused(pair: Pair) -> None:
    pair.start()
    pair.epoch = 7
    pair.a.command("become_primary", epoch=7, alone=False)
    for name in ("become_secondary", "continue_alone", "freeze"):
        with pytest.raises(Refused) as caught:
            pair.a.command(name, epoch=6)
        assert caught.value.code == "stale_epoch"
    with pytest.raises(Refused) as caught:
        pair.b.command("continue_alone", epoch=9)
    assert caught.value.code == "not_primary"


def test_who_was_left_behind_may_not_serve(pair: Pair) -> None:
    pair.start()
    pair.b.kill()
    pair.a.wait_status(frozen=True)
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    (pair.a.tree / "only on a").write_text("x")
    pair.a.kill()
    pair.b.start()
    with pytest.raises(Refused) as caught:
        pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    assert caught.value.code == "not_up_to_date"
    pair.a.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True)
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    assert (pair.b.tree / "only on a").read_text() == "x"
    same(pair)


def test_a_node_without_data_does_not_serve(pair: Pair) -> None:
    pair.b.start()
    with pytest.raises(Refused) as caught:
        pair.b.command("become_primary", epoch=1, alone=True)
    assert caught.value.code == "no_data"


def test_an_outdated_second_does_not_take_over_even_after_a_restart(pair: Pair) -> None:
    pair.start()
    pair.b.command("outdate", epoch=pair.next_epoch())
    pair.b.kill()
    pair.b.start()
    with pytest.raises(Refused) as caught:
        pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    assert caught.value.code == "not_up_to_date"


def test_a_second_that_was_let_in_since_is_not_marked_by_a_late_word(pair: Pair) -> None:
    """The daemons were slow: the engines were in step again before one said that it goes alone."""
    pair.start()
    welcomed = pair.b.status()["welcomed_epoch"]
    assert welcomed > 0
    pair.b.command("outdate", epoch=1, alone=welcomed)
    assert pair.b.status()["up_to_date"]
    pair.b.command("outdate", epoch=pair.next_epoch(), alone=welcomed + 1)
    assert not pair.b.status()["up_to_date"]


def test_an_orderly_stop_of_both_needs_no_resync_at_the_next_start(pair: Pair) -> None:
    pair.start()
    (pair.a.tree / "f").write_text("x")
    pair.b.stop()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    pair.a.stop()
    assert (pair.a.tree / "f").read_text() == "x"  # the bare directory again
    for engine in (pair.a, pair.b):
        engine.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True)
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    assert pair.a.status()["counters"]["resyncs"] == 0
    same(pair)


def test_an_engine_in_use_says_who_uses_it(pair: Pair) -> None:
    pair.start()
    with (pair.a.tree / "held").open("w"):
        with pytest.raises(Refused) as caught:
            pair.a.command("stop", abort=False)
        assert caught.value.code == "busy"
        assert str(os.getpid()) in str(caught.value)
        (pair.a.tree / "still served").write_text("x")
    pair.a.stop()


def test_two_engines_of_one_module_are_refused(pair: Pair) -> None:
    pair.a.start()
    command = [sys.executable, "-m", "twofold.mirror_process"]
    config = str(pair.a.run_dir / "mirror.json")
    second = subprocess.run([*command, "--config", config], capture_output=True, text=True)
    assert second.returncode == 2
    assert "another engine of this module runs" in second.stderr
    assert (pair.a.tree).is_mount()


def test_who_hands_over_to_stop_keeps_its_whole_copy(pair: Pair) -> None:
    """Following who takes over alone would begin a resync, and the stop would cut it."""
    pair.start()
    (pair.a.tree / "file").write_text("handed over")
    pair.a.command("become_secondary", epoch=pair.next_epoch(), follow=False)
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    (pair.b.tree / "file").write_text("newer")
    time.sleep(1.0)  # several times what a follower takes to dial
    status = pair.a.status()
    assert (status["role"], status["link"]) == ("secondary", "down")
    assert status["generation"]["sync_target"] is False
    assert (pair.a.raw / "file").read_text() == "handed over"
    pair.a.command("become_secondary", epoch=pair.epoch)  # asked for after all
    pair.in_sync(pair.b)
    assert (pair.a.raw / "file").read_text() == "newer"


def test_a_primary_shows_the_certificate_that_is_on_disk_now(pair: Pair) -> None:
    """It serves for months; certificates are renewed under it, and the old one runs out."""
    pair.start()
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    pair.issue_keys()
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    same(pair)
