"""The catalogue's lines about what is stopped (SIGSTOP, as a suspended machine) and goes on."""

from __future__ import annotations

import signal
import time

import pytest

from tests.system.conftest import Pair
from tests.system.test_cables import of_all
from tests.system.test_faults import engine_pid
from tests.system.troubled import (
    TIMEOUT_S,
    Beside,
    daemon_pid,
    has_taken_over,
    in_state,
    is_told,
    never_serves,
    site,
)
from twofold.lab.cluster import other

__all__ = ["site"]
pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(240),
]


@pytest.mark.parametrize("delay_s", [0.3, 0.6, 0.9])
def test_the_second_is_paused_in_a_swap_and_the_service_is_taken_back(
    pair: Pair, delay_s: float
) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    swap = Beside(pair, node, "swap", pair.module)
    time.sleep(delay_s)
    of_all(pair, other(node), signal.SIGSTOP)
    try:
        time.sleep(2 * TIMEOUT_S)
        pair.cluster.wait("it serves, or had handed over before", lambda: pair.serves(node), 20)
        pair.outage_s(event_s, lambda: pair.serves(node))
        pair.calm()
    finally:
        of_all(pair, other(node), signal.SIGCONT)
        print(swap.end())
    pair.whole()
    assert pair.primary() == node
    pair.nothing_lost()


@pytest.mark.parametrize("which", ["primary", "second"])
def test_a_stopped_daemon_is_not_noticed_while_the_link_lives(pair: Pair, which: str) -> None:
    node = pair.primary()
    on = node if which == "primary" else other(node)
    pid, event_s = pair.application_pid(node), time.monotonic()
    daemon = daemon_pid(pair, on)
    pair.signal(on, daemon, signal.SIGSTOP)
    try:
        time.sleep(2 * TIMEOUT_S)
    finally:
        pair.signal(on, daemon, signal.SIGCONT)
    pair.whole()
    assert (pair.primary(), pair.application_pid(node)) == (node, pid)
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < 1
    pair.nothing_lost()


def test_a_stopped_daemon_whose_link_is_lost_too_is_a_death(pair: Pair) -> None:
    node = pair.primary()
    daemon, event_s = daemon_pid(pair, node), time.monotonic()
    pair.signal(node, daemon, signal.SIGSTOP)
    try:
        time.sleep(1)
        pair.lab.cut(node)
        pause_s = has_taken_over(pair, node, event_s)
        assert pause_s < TIMEOUT_S + 3
        pair.calm()
    finally:
        pair.lab.heal()
        pair.signal(node, daemon, signal.SIGCONT)
    pair.whole()
    assert pair.primary() == other(node)
    pair.nothing_lost()


def test_who_slept_and_was_asked_to_stop_meanwhile_acknowledges_nothing(pair: Pair) -> None:
    """The other served meanwhile and is stopped: nobody tells the sleeper what it missed."""
    node = pair.primary()
    event_s = time.monotonic()
    of_all(pair, node, signal.SIGSTOP)
    try:
        has_taken_over(pair, node, event_s)
        pair.calm()
        pair.twofold(other(node), "stop", pair.module)
        stop = Beside(pair, node, "stop", pair.module)
        time.sleep(1)
    finally:
        of_all(pair, node, signal.SIGCONT)
    print(stop.end())
    in_state(pair, node, "STOP", 40)
    for each in (other(node), node):
        pair.twofold(each, "start", pair.module, "--no-wait")
    pair.whole()
    assert pair.primary() == other(node)
    pair.nothing_lost()


def test_a_stopped_engine_of_the_primary_is_found_by_the_checker_of_its_mount(pair: Pair) -> None:
    node = pair.primary()
    engine, event_s = engine_pid(pair, node), time.monotonic()
    pair.signal(node, engine, signal.SIGSTOP)
    try:
        # The engine is asked to hand over, then to serve again, for half a minute each.
        pause_s = pair.outage_s(event_s, lambda: pair.serves(other(node)), 120)
        assert pause_s < 90
        is_told(pair, node, "checker mounted failed")
        never_serves(pair, node, 2)
    finally:
        pair.signal(node, engine, signal.SIGCONT)
    if pair.shown(node).startswith("STOP"):
        pair.twofold(node, "start", pair.module)
    pair.whole()
    assert pair.primary() == other(node)
    pair.nothing_lost()
