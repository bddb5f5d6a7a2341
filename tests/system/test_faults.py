"""Parts that die or fall silent: the service comes back, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other
from twofold.wire import heartbeat

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(120)]

HEARTBEAT_TIMEOUT_S = 3.0


FIND_ENGINE = """
import pathlib
for place in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    words = place.read_bytes().split(bytes(1))
    if b"--config" in words and b"/run/twofold/demo/mirror.json" in words:
        print(place.parent.name)
"""


def engine_pid(pair: Pair, node: str) -> int:
    return int(pair.lab.exec(node, ["python", "-c", FIND_ENGINE]).stdout.split()[0])


def test_engine_of_the_primary_dies(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    pair.signal(node, engine_pid(pair, node))
    pause_s = pair.outage_s(event_s, lambda: pair.serves(other(node)))
    assert pause_s < HEARTBEAT_TIMEOUT_S
    pair.whole()
    assert "engine ended" in pair.twofold(node, "why", pair.module)[1]
    pair.nothing_lost()


def test_engine_of_the_second_dies(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    pair.signal(other(node), engine_pid(pair, other(node)))
    pair.cluster.wait("it is alone", lambda: pair.shown(node).startswith("ALONE"), 20)
    pair.whole()
    assert pair.primary() == node
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < HEARTBEAT_TIMEOUT_S + 2
    pair.nothing_lost()


def test_the_whole_primary_is_frozen_and_thaws(pair: Pair) -> None:
    """Its kernel still answers for the virtual address, and its programs wake up unaware."""
    node = pair.primary()
    daemon = int(pair.lab.inside(node, "/run/twofold/twofoldd.pid").read_text())
    pids = [daemon, engine_pid(pair, node), pair.application_pid(node)]
    event_s = time.monotonic()
    for pid in pids:
        pair.signal(node, pid, signal.SIGSTOP)
    try:
        pause_s = pair.outage_s(event_s, lambda: pair.serves(other(node)))
        pair.calm()
    finally:
        for pid in pids:
            pair.signal(node, pid, signal.SIGCONT)
    assert pause_s < HEARTBEAT_TIMEOUT_S + 2
    pair.whole()
    assert pair.primary() == other(node)
    pair.calm()
    pair.nothing_lost()


def test_a_stopped_engine_of_the_second_holds_the_service_up_for_a_while_only(pair: Pair) -> None:
    """It lives and says nothing: its daemon's heartbeats go on, the replication link is silent.

    Three times T: until the link counts as dead, until it is given up, and for the other daemon's
    word that it will not take over, which it cannot make durable without its engine.
    """
    node = pair.primary()
    engine = engine_pid(pair, other(node))
    event_s = time.monotonic()
    pair.signal(other(node), engine, signal.SIGSTOP)
    try:
        alone = lambda: pair.shown(node).startswith("ALONE")  # noqa: E731
        pause_s = pair.outage_s(event_s, alone, 20)
        assert "gone or cannot be reached" in pair.twofold(node, "why", pair.module)[1]
        assert not pair.serves(other(node))
    finally:
        pair.signal(other(node), engine, signal.SIGCONT)
    assert pause_s < 3 * HEARTBEAT_TIMEOUT_S + 1
    pair.whole()
    assert pair.primary() == node
    pair.nothing_lost()


def test_heartbeats_that_arrive_nowhere_are_no_death_while_the_link_lives(pair: Pair) -> None:
    """In one direction only: the secondary hears no heartbeat, and everything else."""
    node = pair.primary()
    second = other(node)
    event_s = time.monotonic()
    mute = ["ipproto", "udp", "dport", str(heartbeat.PORT), "blackhole"]
    for family in ("-4", "-6"):
        pair.lab.exec(node, ["ip", family, "rule", "add", *mute])
    try:
        told = lambda: "not heard" in pair.twofold(second, "log", "-n", "40")[1]  # noqa: E731
        pair.cluster.wait("it is told", told, 15)
        time.sleep(HEARTBEAT_TIMEOUT_S)
        assert (pair.primary(), pair.shown(second)) == (node, "SECOND Ready")
        assert pair.outage_s(event_s, lambda: pair.serves(node)) < 1
    finally:
        for family in ("-4", "-6"):
            pair.lab.exec(node, ["ip", family, "rule", "del", *mute])
    pair.whole()
    assert pair.primary() == node
    pair.nothing_lost()


def test_the_primary_loses_all_networks(pair: Pair) -> None:
    """Both nodes serve then, as two lone servers without a witness must. It is found out and said,
    one of them gives way, and the copies become equal; what the loser alone wrote is not served."""
    node = pair.primary()
    event_s = time.monotonic()
    pair.lab.cut(node)
    try:
        pause_s = pair.outage_s(event_s, lambda: pair.serves(other(node)))
        pair.calm()
    finally:
        pair.lab.heal()
    assert pause_s < HEARTBEAT_TIMEOUT_S + 2
    pair.whole()
    loser = other(pair.primary())
    assert "both nodes served" in pair.twofold(loser, "why", pair.module)[1]
    pair.calm()
    pair.copies_equal()


def test_a_busy_machine_is_not_a_dead_one(pair: Pair) -> None:
    """Every processor taken on both nodes, for longer than the heartbeat's time-out."""
    node = pair.primary()
    event_s = time.monotonic()
    spin = ["timeout", str(HEARTBEAT_TIMEOUT_S + 2), "python", "-c", "while True: pass"]
    busy = [pair.lab.popen(host, spin) for host in "ab" for _ in range(os.cpu_count() or 1)]
    for process in busy:
        process.wait()
    for host in "ab":
        state = pair.cluster.state(host, pair.module)
        assert state is not None
        assert state["since_s"] > time.monotonic() - event_s, "it has not moved"
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < HEARTBEAT_TIMEOUT_S
    pair.nothing_lost()


WRITE = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1]) / "archive"
folder.mkdir()
for name in ("kept", "rotten", "gone"):
    with (folder / name).open("wb") as file:
        file.write(name.encode() * 40_000)
        os.fsync(file.fileno())
"""
# Below the mount, as a bad disk or a hand in the wrong place would do it: a byte, without its time.
DAMAGE = """
import os, pathlib
folder = pathlib.Path("/run/twofold/demo/raw/0/archive")
before = (folder / "rotten").stat()
with (folder / "rotten").open("rb+") as file:
    file.seek(100_000)
    file.write(b"X")
os.utime(folder / "rotten", ns=(before.st_atime_ns, before.st_mtime_ns))
(folder / "gone").unlink()
(folder / "extra").write_text("nobody wrote this")
"""
READ = """
import hashlib, pathlib
folder = pathlib.Path("/run/twofold/demo/raw/0/archive")
for path in sorted(folder.iterdir()):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_damage_on_the_disk_of_the_second_is_found_named_and_repaired(pair: Pair) -> None:
    node = pair.primary()
    second = other(node)
    pair.lab.exec(node, ["python", "-c", WRITE, pair.workload.directory])
    pair.lab.exec(second, ["python", "-c", DAMAGE])
    code, text = pair.twofold(node, "mirror", "verify", pair.module, check=False)
    assert code == 1, text
    lines = {line.split(":")[0].strip(): line for line in text.splitlines() if "archive" in line}
    # The zone of 1 MiB that holds the damage is named: all of a file of 240,000 bytes.
    assert lines["archive/rotten"].strip() == "archive/rotten: contents (bytes 0+240000)", text
    assert "missing" in lines["archive/gone"] and "extra" in lines["archive/extra"], text
    assert "archive/kept" not in lines, text
    assert f"twofold mirror verify {pair.module} --repair" in text
    code, text = pair.twofold(node, "mirror", "verify", pair.module, "--repair", check=False)
    assert code == 0 and text.count("repaired") >= 3, text
    code, text = pair.twofold(node, "mirror", "verify", pair.module, check=False)
    assert code == 0 and "no difference" in text, text
    copies = [pair.lab.exec(host, ["python", "-c", READ]).stdout for host in (node, second)]
    assert copies[0] == copies[1] and copies[0].count("\n") == 3, copies
    pair.nothing_lost()
