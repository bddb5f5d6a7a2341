"""The catalogue's lines about nodes that lose each other, without a witness: what only one of the
two ways carries, what is lost at random, and splits in which only one of them writes."""

from __future__ import annotations

import json
import time

from tests.system.cables import bad_weather, flow_lost, join, parted
from tests.system.conftest import Pair
from tests.system.troubled import (
    LONG_IN_LAB,
    TIMEOUT_S,
    amid_a_resync,
    ends_well,
    in_state,
    is_told,
    never_serves,
    site,
    suspended,
)
from twofold.lab.cluster import other
from twofold.lab.lab import NODES

__all__ = ["site"]
pytestmark = LONG_IN_LAB


def test_only_the_replication_link_is_lost(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    with flow_lost(pair):
        pause_s = pair.outage_s(event_s, lambda: pair.shown(node).startswith("ALONE"))
        assert pause_s < 2 * TIMEOUT_S + 1
        is_told(pair, node, "cannot be reached")
        never_serves(pair, other(node), TIMEOUT_S)
        pair.calm()
    ends_well(pair, node)


def test_the_link_is_lost_as_soon_as_a_resync_has_ended(pair: Pair) -> None:
    node = pair.primary()
    pair.lab.kill(other(node))
    in_state(pair, node, "ALONE")
    pair.calm()
    pair.lab.start(other(node))
    pair.whole()
    event_s = time.monotonic()
    with flow_lost(pair):
        pause_s = pair.outage_s(event_s, lambda: pair.shown(node).startswith("ALONE"))
        assert pause_s < 2 * TIMEOUT_S + 1
        pair.calm()
    ends_well(pair, node)


def test_a_second_that_slept_through_its_resync_does_not_serve(pair: Pair) -> None:
    node, second = amid_a_resync(pair, 10)
    with suspended(pair, second):
        in_state(pair, node, "ALONE")
        pair.calm()
        pair.lab.kill(node)
    never_serves(pair, second, 2 * TIMEOUT_S)
    is_told(pair, second, "incomplete")
    pair.lab.start(node)
    ends_well(pair, node)


def test_three_of_ten_packets_are_lost_and_nobody_takes_over(pair: Pair) -> None:
    node = pair.primary()
    weather = [bad_weather(pair, each, 20) for each in NODES]
    try:
        never_serves(pair, other(node), 20)
        assert pair.serves(node)
    finally:
        for each in weather:
            each.wait(40)
        join(pair, *NODES)
    ends_well(pair, node)


def put(pair: Pair, node: str, name: str) -> None:
    script = (
        f"echo {node} > {pair.workload.directory}/{name} && sync {pair.workload.directory}/{name}"
    )
    pair.lab.exec(node, ["sh", "-c", script])


def gives_way(pair: Pair, stayed: str) -> str:
    """Of two that serve: the lower epoch; of equal ones who took over from `stayed`."""
    epochs = {n: (pair.cluster.state(n, pair.module) or {})["epoch"] for n in NODES}
    return stayed if epochs[stayed] < epochs[other(stayed)] else other(stayed)


def rescued(pair: Pair, node: str) -> int:
    out = pair.twofold(node, "mirror", "rescue", "list", pair.module, "--json")[1]
    return len(json.loads(out)["rescues"])


def test_both_served_and_only_who_gives_way_wrote(pair: Pair) -> None:
    """What it wrote is saved aside; who stays has written nothing, and is followed all the same."""
    stayed = pair.primary()
    pair.writer.stop()
    with parted(pair):
        for each in NODES:
            in_state(pair, each, "ALONE")
        loser = gives_way(pair, stayed)
        before = rescued(pair, loser)
        put(pair, loser, "only-the-loser")
    pair.whole()
    assert pair.primary() == other(loser)
    is_told(pair, loser, "both nodes served")
    assert rescued(pair, loser) == before + 1
    pair.nothing_lost()


def test_both_served_and_the_loser_stopped_before_they_met(pair: Pair) -> None:
    stayed = pair.primary()
    pair.writer.stop()
    with parted(pair):
        for each in NODES:
            in_state(pair, each, "ALONE")
        loser = gives_way(pair, stayed)
        pair.twofold(loser, "stop", pair.module)
        put(pair, other(loser), "only-the-winner")
    pair.twofold(loser, "start", pair.module)
    ends_well(pair, other(loser))
