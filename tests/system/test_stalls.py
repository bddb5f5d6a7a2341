"""The catalogue's lines about what is stopped (SIGSTOP, as a suspended machine) and goes on."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest

from tests.system.cables import flow_lost
from tests.system.conftest import Pair
from tests.system.test_faults import engine_pid
from tests.system.troubled import (
    LONG_IN_LAB,
    TIMEOUT_S,
    Beside,
    daemon_pid,
    ends_well,
    has_taken_over,
    in_state,
    is_told,
    never_serves,
    site,
    suspended,
)
from twofold.errors import OperatorError
from twofold.lab.cluster import other

__all__ = ["site"]
pytestmark = LONG_IN_LAB


def resynced(pair: Pair, node: str, before: object) -> bool:
    """Its engine has ended a resync; the other daemon may not have said so yet."""
    state = pair.cluster.state(node, pair.module) or {}
    return state["resync"] is None and state["last_resync"] != before


@pytest.mark.parametrize("delay_s", [0.3, 0.6, 0.9])
def test_the_second_is_paused_in_a_swap_and_the_service_is_taken_back(
    pair: Pair, delay_s: float
) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    swap = Beside(pair, node, "swap", pair.module)
    time.sleep(delay_s)
    with suspended(pair, other(node)):
        time.sleep(2 * TIMEOUT_S)
        pair.outage_s(event_s, lambda: pair.serves(node))
        pair.calm()
    print(swap.end())
    ends_well(pair, node)


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
    ends_well(pair, other(node))


def test_a_second_that_hears_late_that_the_other_went_on_alone_is_in_step_by_then(
    pair: Pair,
) -> None:
    """Its daemon sleeps from before the link breaks until after the resync. Were the late word
    believed, the copy would be marked, and nobody would serve after the power cut.
    """
    node = pair.primary()
    second = other(node)
    daemon = daemon_pid(pair, second)
    before = (pair.cluster.state(node, pair.module) or {})["last_resync"]
    pair.signal(second, daemon, signal.SIGSTOP)
    try:
        with flow_lost(pair):
            in_state(pair, node, "ALONE", 30)
            pair.calm()
        pair.cluster.wait("the resync has ended", lambda: resynced(pair, node, before), 30)
    finally:
        pair.signal(second, daemon, signal.SIGCONT)
    pair.whole()
    assert pair.primary() == node
    event_s = time.monotonic()
    pair.lab.kill(node)
    has_taken_over(pair, node, event_s)
    pair.lab.start(node)
    ends_well(pair, second)


@pytest.mark.parametrize("delay_s", [0.05, 0.1, 0.2, 0.4])
def test_a_hand_over_with_writes_under_way_to_a_second_that_has_lost_power(
    pair: Pair, delay_s: float
) -> None:
    """It is back before anybody noticed. Neither copy is sure to be whole: the last primary's has
    everything that was acknowledged.
    """
    node = pair.primary()
    second = other(node)
    pair.signal(second, engine_pid(pair, second), signal.SIGSTOP)
    time.sleep(delay_s)  # what is written now is sent, and nobody answers
    swap = Beside(pair, node, "swap", pair.module)
    time.sleep(delay_s)
    pair.lab.kill(second)
    pair.lab.start(second)
    print(swap.end())
    ends_well(pair, node)


def test_who_slept_and_was_asked_to_stop_meanwhile_acknowledges_nothing(pair: Pair) -> None:
    """The other served meanwhile and is stopped: nobody tells the sleeper what it missed."""
    node = pair.primary()
    event_s = time.monotonic()
    with suspended(pair, node):
        has_taken_over(pair, node, event_s)
        pair.calm()
        pair.twofold(other(node), "stop", pair.module)
        stop = Beside(pair, node, "stop", pair.module)
        time.sleep(1)
    print(stop.end())
    in_state(pair, node, "STOP", 40)
    for each in (other(node), node):
        pair.twofold(each, "start", pair.module, "--no-wait")
    ends_well(pair, other(node))


def test_a_stopped_engine_of_the_primary_is_found_by_the_checker_of_its_mount(pair: Pair) -> None:
    node = pair.primary()
    engine, event_s = engine_pid(pair, node), time.monotonic()
    pair.signal(node, engine, signal.SIGSTOP)
    try:
        # The checker's failures, then the engine is asked to hand over and says nothing.
        pause_s = pair.outage_s(event_s, lambda: pair.serves(other(node)), 120)
        assert pause_s < 45
        is_told(pair, node, "checker mounted failed")
        is_told(pair, node, "the engine hangs")
        never_serves(pair, node, 2)
    finally:
        with contextlib.suppress(OperatorError):  # it was ended by force, as it should be
            pair.signal(node, engine, signal.SIGCONT)
    ends_well(pair, other(node))
