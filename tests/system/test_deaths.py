"""The catalogue's lines about nodes and parts of them that die, and come back."""

from __future__ import annotations

import random
import time
from collections.abc import Generator

import pytest

from tests.system.conftest import Pair
from tests.system.test_failover import is_new_daemon
from tests.system.test_faults import engine_pid
from tests.system.troubled import (
    LONG_IN_LAB,
    TIMEOUT_S,
    Beside,
    amid_a_resync,
    daemon_pid,
    ends_well,
    has_taken_over,
    in_state,
    is_told,
    mended,
    never_serves,
    site,
    trouble,
)
from twofold.lab.cluster import DAEMON, daemon_command, other
from twofold.lab.lab import NODES

__all__ = ["site"]
pytestmark = LONG_IN_LAB


@pytest.fixture(autouse=True)
def nothing_fails(pair: Pair) -> Generator[None]:
    yield
    mended(pair)


def both_lose_power(pair: Pair) -> None:
    first = pair.primary()
    for node in (first, other(first)):
        pair.lab.kill(node)


def test_power_cut_of_both(pair: Pair) -> None:
    last = pair.primary()
    both_lose_power(pair)
    event_s = time.monotonic()
    for node in NODES:
        pair.lab.start(node)
    pair.outage_s(event_s, lambda: pair.serves(last))
    is_told(pair, last, f"both nodes have the same data, and it is {last}'s turn to serve")
    ends_well(pair, last)


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.5])
def test_the_engine_of_one_that_has_just_begun_to_serve_dies(pair: Pair, after_s: float) -> None:
    """They agree anew who serves, while what they know of each other's copy still changes."""
    last = pair.primary()
    both_lose_power(pair)
    for node in NODES:
        pair.lab.start(node)
    pair.cluster.wait("one serves", lambda: any(map(pair.serves, NODES)), 30)
    node = last if pair.serves(last) else other(last)
    time.sleep(after_s)
    event_s = time.monotonic()
    pair.signal(node, engine_pid(pair, node))
    pair.outage_s(event_s, lambda: any(map(pair.serves, NODES)))
    pair.whole()
    ends_well(pair, pair.primary())


def test_a_second_that_was_stopped_serves_when_the_primary_wrote_nothing_since(pair: Pair) -> None:
    node = pair.primary()
    pair.writer.stop()
    pair.twofold(other(node), "stop", pair.module)
    pair.lab.kill(node)
    pair.twofold(other(node), "start", pair.module, "--no-wait")
    pair.lab.start(node)
    is_told(pair, other(node), f"it is {other(node)}'s turn to serve")
    ends_well(pair, other(node))


def test_of_two_copies_cut_short_the_last_primary_is_waited_for(pair: Pair) -> None:
    last = pair.primary()
    both_lose_power(pair)
    pair.lab.supervise(last, DAEMON, None)
    pair.lab.start(last)
    trouble(pair, last, "wait")
    pair.lab.supervise(last, DAEMON, daemon_command())
    pair.lab.start(other(last))
    in_state(pair, last, "WAIT")
    in_state(pair, other(last), "WAIT")
    never_serves(pair, other(last), TIMEOUT_S + 2)
    assert not pair.serves(last)
    is_told(pair, last, "Waiting until checker c-wait is well")
    mended(pair, last)
    ends_well(pair, last)


def test_a_copy_that_was_not_in_step_again_does_not_serve(pair: Pair) -> None:
    """The secondary dies and returns; the primary dies before the two have met."""
    node = pair.primary()
    second = other(node)
    pair.lab.kill(second)
    in_state(pair, node, "ALONE")
    pair.calm()
    pair.lab.cut(node)
    pair.lab.start(second)
    pair.lab.kill(node)
    pair.lab.heal()
    in_state(pair, second, "WAIT")
    never_serves(pair, second, TIMEOUT_S + 2)
    is_told(pair, second, "run `twofold prim")
    pair.lab.start(node)
    ends_well(pair, node)


def test_a_half_copy_does_not_serve(pair: Pair) -> None:
    node, second = amid_a_resync(pair, 12)
    pair.lab.kill(node)
    in_state(pair, second, "WAIT")
    never_serves(pair, second, TIMEOUT_S + 2)
    is_told(pair, second, "incomplete")
    pair.lab.start(node)
    ends_well(pair, node)


def test_daemons_that_die_in_the_middle_of_swaps(pair: Pair) -> None:
    dice = random.Random(11)
    for _ in range(6):
        node = pair.primary()
        swap = Beside(pair, node, "swap", pair.module)
        time.sleep(0.3 + dice.random())
        victim = dice.choice(NODES)
        daemon = daemon_pid(pair, victim)
        pair.signal(victim, daemon)
        pair.cluster.wait("it is back", lambda v=victim, d=daemon: is_new_daemon(pair, v, d), 20)
        print(swap.end())
        pair.whole()
        pair.calm()
    pair.nothing_lost()


def test_a_daemon_that_dies_on_the_way_to_a_stop(pair: Pair) -> None:
    node = pair.primary()
    for delay_s in (0.2, 0.35, 0.5):
        stop = Beside(pair, other(node), "stop", pair.module, "--no-wait")
        time.sleep(delay_s)
        daemon = daemon_pid(pair, other(node))
        pair.signal(other(node), daemon)
        print(stop.end())
        pair.cluster.wait("it is back", lambda d=daemon: is_new_daemon(pair, other(node), d), 20)
        pair.twofold(other(node), "start", pair.module)
        pair.whole()
        assert pair.primary() == node
    pair.nothing_lost()


def test_a_daemon_comes_back_to_an_engine_whose_epoch_is_over(pair: Pair) -> None:
    """Its engine and application ran on without it, cut off; the other node has taken over."""
    node = pair.primary()
    application = pair.application_pid(node)
    pair.lab.supervise(node, DAEMON, None)
    pair.lab.cut(node)
    event_s = time.monotonic()
    try:
        pause_s = has_taken_over(pair, node, event_s)
        assert pause_s < TIMEOUT_S + 2
        pair.calm()
        assert pair.lab.inside(node, f"/proc/{application}").exists(), "the application ran on"
    finally:
        pair.lab.heal()
        pair.lab.supervise(node, DAEMON, daemon_command())
    is_told(pair, node, "so " + node + " gives up and follows it")
    ends_well(pair, other(node))


def test_an_engine_that_does_not_start_is_tried_again_then_given_up(pair: Pair) -> None:
    node = pair.primary()
    second, place = other(node), pair.workload.directory
    pair.lab.kill(second)
    pair.lab.supervise(second, DAEMON, None)
    pair.lab.start(second)
    pair.lab.exec(second, ["mv", place, f"{place}.away"])
    pair.lab.supervise(second, DAEMON, daemon_command())
    in_state(pair, second, "STOP", 40)
    is_told(pair, second, f"{place} cannot be opened: No such file or directory")
    pair.lab.exec(second, ["mv", f"{place}.away", place])
    pair.twofold(second, "start", pair.module)
    ends_well(pair, node)
