"""The catalogue's lines about the application: what fails in it, who serves then, what is told."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import partial

import pytest

from tests.system.conftest import Pair
from tests.system.test_failover import MAX_LOOPS, is_new_daemon
from tests.system.troubled import (
    LONG_IN_LAB,
    STOP_TIMEOUT_S,
    TIMEOUT_S,
    daemon_pid,
    ends_well,
    has_begun,
    has_taken_over,
    in_state,
    is_told,
    mended,
    never_serves,
    site,
    started_afresh,
    trouble,
    why,
)
from twofold.lab.cluster import other

__all__ = ["site"]
pytestmark = LONG_IN_LAB


@pytest.fixture(autouse=True)
def nothing_counted(pair: Pair) -> Generator[None]:
    yield
    mended(pair)
    started_afresh(pair)


def test_a_service_that_ends_while_others_start_is_started_again(pair: Pair) -> None:
    node = pair.primary()
    trouble(pair, node, "slow-start")  # the second service; the first is ready before it
    first, event_s = pair.application_pid(node), time.monotonic()
    pair.signal(node, first)
    pair.cluster.wait("the second is being started", lambda: has_begun(pair, node), 20)
    second = pair.application_pid(node)
    assert second != first
    pair.signal(node, second)
    mended(pair)
    pair.outage_s(event_s, partial(pair.restarted, node, second))
    assert pair.primary() == node
    is_told(pair, node, "ended")
    pair.nothing_lost()


def test_failures_count_over_restarts_of_the_daemon(pair: Pair) -> None:
    node = pair.primary()
    for number in range(MAX_LOOPS):
        pid = pair.application_pid(node)
        pair.signal(node, pid)
        pair.outage_s(time.monotonic(), partial(pair.restarted, node, pid))
        assert pair.primary() == node
        if number == 1:
            daemon = daemon_pid(pair, node)
            pair.signal(node, daemon)
            pair.cluster.wait("it is back", lambda d=daemon: is_new_daemon(pair, node, d), 20)
            pair.whole()
    event_s = time.monotonic()
    pair.signal(node, pair.application_pid(node))
    assert has_taken_over(pair, node, event_s) < TIMEOUT_S
    is_told(pair, node, f"{MAX_LOOPS} times is enough")
    pair.twofold(node, "start", pair.module)
    pair.nothing_lost()


def test_what_does_not_start_here_starts_on_the_other(pair: Pair) -> None:
    node = pair.primary()
    trouble(pair, node, "failing-start")
    event_s = time.monotonic()
    pair.signal(node, pair.application_pid(node))
    has_taken_over(pair, node, event_s)
    is_told(pair, node, "does not start")
    mended(pair)
    pair.nothing_lost()


def test_what_does_not_start_on_the_only_node_is_given_up_with_an_alarm(pair: Pair) -> None:
    node = pair.primary()
    pair.twofold(other(node), "stop", pair.module)
    in_state(pair, node, "ALONE")
    trouble(pair, node, "failing-start")
    pair.signal(node, pair.application_pid(node))
    in_state(pair, node, "STOP", 60)
    is_told(pair, node, f"{MAX_LOOPS} attempts are enough")
    mended(pair)
    pair.twofold(node, "start", pair.module)
    pair.twofold(other(node), "start", pair.module)
    ends_well(pair, node)


def test_a_swap_comes_back_when_the_other_cannot_start_it(pair: Pair) -> None:
    node = pair.primary()
    trouble(pair, other(node), "failing-start")
    event_s = time.monotonic()
    pair.twofold(node, "swap", pair.module, check=False)
    pair.outage_s(event_s, lambda: pair.serves(node))
    pair.whole()
    assert pair.primary() == node
    is_told(pair, other(node), "does not start here")
    pair.nothing_lost()


BAD_STOPS = pytest.mark.parametrize("how", ["failing-stop", "hanging-stop"])


@BAD_STOPS
def test_a_stop_that_fails_or_hangs_is_forced_and_the_other_serves(pair: Pair, how: str) -> None:
    node = pair.primary()
    trouble(pair, node, how)
    event_s = time.monotonic()
    pair.twofold(node, "stop", pair.module, check=False)
    assert has_taken_over(pair, node, event_s) < STOP_TIMEOUT_S + TIMEOUT_S + 1
    in_state(pair, node, "STOP")
    is_told(pair, node, "stops by force")
    mended(pair)
    pair.twofold(node, "start", pair.module)
    ends_well(pair, other(node))


def test_nobody_begins_to_serve_while_the_application_is_still_being_stopped(pair: Pair) -> None:
    """Both nodes are stopped at the same moment, and a person has one serve again at once."""
    node = pair.primary()
    second = other(node)
    trouble(pair, node, "hanging-stop")
    trouble(pair, node, "stop")
    in_state(pair, node, "WAIT")
    pair.twofold(second, "stop", pair.module)
    code, said = pair.twofold(second, "prim", pair.module, "--yes", check=False)
    assert code == 0 and pair.serves(second), said + why(pair, second) + why(pair, node)
    is_told(pair, node, "the engine is stopped by force")
    ended = moment(pair, node, "stopped by force")
    assert (began := moment(pair, second, "a person decided that")) >= ended, (ended, began)
    mended(pair)
    pair.twofold(node, "start", pair.module)
    ends_well(pair, second)


def moment(pair: Pair, node: str, words: str) -> float:
    """When the node last wrote a sentence with these words."""
    answer = pair.cluster.ask(node, "log", module=pair.module, limit=50)
    assert answer is not None
    return max(float(e["at"]) for e in answer["entries"] if words in e["sentence"])


@BAD_STOPS
def test_a_swap_whose_stop_fails_or_hangs_is_called_off(pair: Pair, how: str) -> None:
    node = pair.primary()
    trouble(pair, node, how)
    event_s = time.monotonic()
    code, said = pair.twofold(node, "swap", pair.module, check=False)
    assert code != 0 and "goes on serving" in said, said
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < STOP_TIMEOUT_S + 3
    pair.whole()
    assert pair.primary() == node
    is_told(pair, node, "the hand-over failed")
    mended(pair)
    pair.nothing_lost()


def test_the_checker_restart_restarts_here(pair: Pair) -> None:
    node = pair.primary()
    pid, event_s = pair.application_pid(node), time.monotonic()
    trouble(pair, node, "restart")
    pair.outage_s(event_s, partial(pair.restarted, node, pid))
    mended(pair)
    is_told(pair, node, "checker c-restart failed")
    ends_well(pair, node)


def test_the_checker_failover_has_the_other_serve(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    trouble(pair, node, "failover")
    has_taken_over(pair, node, event_s)
    is_told(pair, node, "checker c-failover failed")
    pair.whole()
    pair.nothing_lost()


def test_the_checker_stop_stops_this_node(pair: Pair) -> None:
    node = pair.primary()
    trouble(pair, node, "stop")
    in_state(pair, node, "STOP")
    is_told(pair, node, "checker c-stop failed")
    mended(pair)
    pair.twofold("a", "start", pair.module, "-H", "*")
    pair.whole()
    pair.nothing_lost()


def test_the_checker_none_is_an_alarm_and_nothing_else(pair: Pair) -> None:
    node = pair.primary()
    pid, event_s = pair.application_pid(node), time.monotonic()
    trouble(pair, node, "none")
    is_told(pair, node, "c-none")
    time.sleep(2)
    assert (pair.primary(), pair.application_pid(node)) == (node, pid)
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < 1
    pair.nothing_lost()


def test_the_checker_wait_has_a_node_serve_only_when_it_is_well(pair: Pair) -> None:
    """Its primary hands over; then the other dies, and the service waits for the checker."""
    node = pair.primary()
    event_s = time.monotonic()
    trouble(pair, node, "wait")
    has_taken_over(pair, node, event_s)
    code, said = pair.twofold(other(node), "swap", pair.module, check=False)
    assert code != 0 and "not an up-to-date SECOND that may serve" in said
    in_state(pair, node, "SECOND")
    pair.lab.kill(other(node))
    never_serves(pair, node, TIMEOUT_S + 3)
    is_told(pair, node, "would not take over until checker c-wait is well")
    mended(pair, node)
    pair.cluster.wait("it serves", lambda: pair.serves(node), 10)
    pair.lab.start(other(node))
    pair.whole()
    pair.nothing_lost()


def test_the_checker_wait_stops_the_application_of_the_only_node_until_it_is_well(
    pair: Pair,
) -> None:
    node = pair.primary()
    pair.twofold(other(node), "stop", pair.module)
    in_state(pair, node, "ALONE")
    event_s = time.monotonic()
    trouble(pair, node, "wait")
    in_state(pair, node, "WAIT")
    is_told(pair, node, "is stopped until it is well again")
    mended(pair, node)
    pair.outage_s(event_s, lambda: pair.serves(node))
    pair.twofold(other(node), "start", pair.module)
    pair.whole()
    pair.nothing_lost()
