"""The promises to a user, on real daemons: a client that never stops writing is the judge.

Power cut, orderly stop, swap, the daemon's own death, the application's failure, an orderly
power-off, a network that fails: after each the pair is whole again, every acknowledged row is there
and both copies are equal.
"""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(120)]

HEARTBEAT_TIMEOUT_S = 3.0
MAX_LOOPS = 3


def test_power_cut_of_the_primary(pair: Pair) -> None:
    old = pair.primary()
    event_s = time.monotonic()
    pair.lab.kill(old)
    assert pair.outage_s(event_s, lambda: pair.serves(other(old))) < HEARTBEAT_TIMEOUT_S + 2
    assert pair.shown(other(old)) == "ALONE Ready"
    pair.lab.start(old)
    pair.whole()
    assert pair.primary() == other(old)
    pair.calm()
    pair.nothing_lost()


def test_orderly_stop_hands_over_at_once(pair: Pair) -> None:
    old = pair.primary()
    event_s = time.monotonic()
    pair.twofold(old, "stop", pair.module)
    assert pair.outage_s(event_s, lambda: pair.serves(other(old))) < HEARTBEAT_TIMEOUT_S - 0.5
    assert pair.shown(other(old)) == "ALONE Ready"
    code, _ = pair.twofold(old, "state", pair.module, "-q", check=False)
    assert code == 0  # STOP
    pair.twofold(old, "start", pair.module)
    pair.whole()
    assert pair.primary() == other(old)
    pair.nothing_lost()


def test_swap_there_and_back(pair: Pair) -> None:
    first = pair.primary()
    for serving in (first, other(first)):
        event_s = time.monotonic()
        pair.twofold(serving, "swap", pair.module)
        new = other(serving)
        assert pair.outage_s(event_s, partial(pair.serves, new)) < HEARTBEAT_TIMEOUT_S
        pair.whole()
        assert pair.primary() == new
    pair.nothing_lost()


def test_a_killed_daemon_is_not_noticed(pair: Pair) -> None:
    node = pair.primary()
    application, event_s = pair.application_pid(node), time.monotonic()
    daemon = int(pair.lab.inside(node, "/run/twofold/twofoldd.pid").read_text())
    pair.signal(node, daemon)
    pair.cluster.wait("a new daemon answers", lambda: is_new_daemon(pair, node, daemon), 20)
    pair.whole()
    time.sleep(HEARTBEAT_TIMEOUT_S + 1)  # nor later
    pair.whole()
    assert pair.primary() == node
    assert pair.application_pid(node) == application
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < 1
    pair.nothing_lost()


def is_new_daemon(pair: Pair, node: str, old: int) -> bool:
    """Another daemon than `old` answers, and knows the module."""
    path = pair.lab.inside(node, "/run/twofold/twofoldd.pid")
    known = pair.cluster.state(node, pair.module) is not None
    return known and path.exists() and int(path.read_text()) != old


def test_a_failed_application_is_restarted_then_handed_over(pair: Pair) -> None:
    node = pair.primary()
    for _ in range(MAX_LOOPS):
        pid, event_s = pair.application_pid(node), time.monotonic()
        pair.signal(node, pid)
        again = partial(pair.restarted, node, pid)
        assert pair.outage_s(event_s, again) < HEARTBEAT_TIMEOUT_S
        assert pair.primary() == node
    event_s = time.monotonic()
    pair.signal(node, pair.application_pid(node))
    assert pair.outage_s(event_s, lambda: pair.serves(other(node))) < HEARTBEAT_TIMEOUT_S
    pair.cluster.wait("it gave up here", lambda: pair.shown(node).startswith("STOP"), 20)
    assert pair.primary() == other(node)
    pair.twofold(node, "start", pair.module)
    pair.whole()
    pair.nothing_lost()


def test_orderly_power_off_is_an_orderly_stop(pair: Pair) -> None:
    old = pair.primary()
    event_s = time.monotonic()
    pair.lab.power_off(old)
    assert pair.outage_s(event_s, lambda: pair.serves(other(old))) < HEARTBEAT_TIMEOUT_S - 1
    pair.lab.start(old)
    pair.whole()
    pair.nothing_lost()


def test_loss_of_one_network_is_no_failover(pair: Pair) -> None:
    node = pair.primary()
    pair.lab.cut(other(node), ["flow"])
    event_s = time.monotonic()
    time.sleep(HEARTBEAT_TIMEOUT_S + 2)
    assert pair.primary() == node
    assert pair.outage_s(event_s, lambda: pair.serves(node)) < HEARTBEAT_TIMEOUT_S + 2
    assert (pair.shown(node), pair.shown(other(node))) == ("PRIM Ready", "SECOND Ready")
    pair.lab.heal()
    pair.whole()
    assert pair.primary() == node
    pair.nothing_lost()


def test_death_of_the_second_does_not_stop_the_service(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    pair.lab.kill(other(node))
    assert (
        pair.outage_s(event_s, lambda: pair.shown(node) == "ALONE Ready") < HEARTBEAT_TIMEOUT_S + 2
    )
    pair.calm()
    pair.lab.start(other(node))
    pair.whole()
    assert pair.primary() == node
    pair.nothing_lost()


def test_what_cannot_be_is_refused_in_a_sentence(pair: Pair) -> None:
    node = pair.primary()
    code, said = pair.twofold(other(node), "prim", pair.module, check=False)
    assert code != 0 and "Traceback" not in said
    assert "swap" in said
    code, _ = pair.twofold(node, "state", pair.module, "-q", check=False)
    assert code == 3  # PRIM
    code, _ = pair.twofold(other(node), "state", pair.module, "-q", check=False)
    assert code == 4  # SECOND
    pair.calm()
    assert pair.primary() == node
