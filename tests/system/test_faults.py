"""Parts that die or fall silent: the service comes back, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other

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
