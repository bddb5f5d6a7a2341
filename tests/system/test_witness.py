"""Two nodes that lose each other in every way, with a third machine that rules: real daemons.

A client writes all the time. After each test the pair is whole again, no acknowledged row is lost,
both copies are equal, and at no moment both nodes held the address with an engine that serves.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.cables import join, part
from tests.system.conftest import READY_WITHIN_S, Pair
from tests.system.troubled import Beside, suspended
from twofold.lab.cluster import Cluster, other
from twofold.lab.lab import NODES, WITNESS, Lab
from twofold.lab.workloads import SqliteWorkload

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(150)]

TIMEOUT_S = 3.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Lab, Cluster]]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    disks = tmp_path_factory.mktemp("disks")
    lab = Lab.make(f"wit{os.getpid()}", size_bytes=512 << 20, directory=disks, witness=True)
    try:
        cluster = Cluster(lab)
        cluster.form()
        cluster.add_witness()
        workload = SqliteWorkload()
        workload.install(cluster)
        file = f"/etc/twofold/modules/{workload.module}/module.toml"
        lab.exec("a", ["sed", "-i", 's/^\\[module\\]/[module]\\narbitration = "witness"/', file])
        cluster.twofold("a", "module", "apply", workload.module)
        cluster.twofold("a", "prim", workload.module)
        cluster.twofold("b", "start", workload.module)
        cluster.wait_both_ready(workload.module, READY_WITHIN_S)
        yield lab, cluster
    finally:
        if os.environ.get("TWOFOLD_TEST_KEEP") is None:
            lab.down()


@dataclass
class Watch:
    """Looks at both nodes all the time: in which epoch does each serve?"""

    pair: Pair
    served: dict[int, set[str]] = field(default_factory=lambda: dict[int, set[str]]())
    together: list[str] = field(default_factory=lambda: list[str]())
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._end.wait(0.05):
            alone: list[str] = []
            for node in NODES:
                found = self.pair.cluster.state(node, self.pair.module) or {}
                if found.get("state") in ("PRIM", "ALONE"):
                    self.served.setdefault(int(found["epoch"]), set()).add(node)
                if found.get("state") == "ALONE":
                    alone.append(node)
            if len(alone) == 2:
                self.together.append(time.strftime("%X"))

    def one_at_a_time(self) -> None:
        assert {e: n for e, n in self.served.items() if len(n) > 1} == {}


def journal(pair: Pair, node: str) -> str:
    return pair.twofold(node, "log", "-n", "40")[1]


def whole_again(pair: Pair, watch: Watch) -> None:
    pair.whole()
    pair.calm()
    watch.one_at_a_time()
    pair.nothing_lost()


def test_a_split_leaves_one_that_serves(pair: Pair) -> None:
    with Watch(pair) as watch:
        event_s = time.monotonic()
        part(pair, *NODES)
        try:
            serving = lambda: [n for n in NODES if pair.shown(n).startswith("ALONE")]  # noqa: E731
            outage_s = pair.outage_s(event_s, lambda: bool(serving()), 15)
            winner = serving()[0]
            time.sleep(2)
            assert serving() == [winner]
            assert outage_s < TIMEOUT_S + 3
            assert "the witness" in pair.twofold(winner, "why", pair.module)[1]
        finally:
            join(pair, *NODES)
        whole_again(pair, watch)


@pytest.mark.parametrize("deaf", ["primary", "secondary"])
def test_when_one_direction_is_lost_one_serves(pair: Pair, deaf: str) -> None:
    """`deaf` hears nothing of the other any more; the other hears it."""
    primary = pair.primary()
    mute = other(primary) if deaf == "primary" else primary
    with Watch(pair) as watch:
        event_s = time.monotonic()
        part(pair, mute)
        try:
            serving = lambda: [n for n in NODES if pair.shown(n).startswith("ALONE")]  # noqa: E731
            pair.outage_s(event_s, lambda: len(serving()) == 1, 20)
            winner = serving()[0]
            time.sleep(4)
            assert serving() == [winner]
        finally:
            join(pair, mute)
        whole_again(pair, watch)


def test_a_primary_that_is_cut_off_stops_and_the_other_serves(pair: Pair) -> None:
    old = pair.primary()
    with Watch(pair) as watch:
        event_s = time.monotonic()
        pair.lab.cut(old)
        try:
            outage_s = pair.outage_s(event_s, lambda: pair.serves(other(old)), 15)
            assert outage_s < TIMEOUT_S + 3
            pair.cluster.wait("it stops", lambda: pair.shown(old).startswith("WAIT"), 10)
            assert "nobody can rule" in pair.twofold(old, "why", pair.module)[1]
        finally:
            pair.lab.heal()
        whole_again(pair, watch)
        assert pair.primary() == other(old)


def test_a_paused_primary_wakes_up_in_an_epoch_that_is_over(pair: Pair) -> None:
    """All processes of the node are stopped for longer than the timeout, while a client writes."""
    old = pair.primary()
    with Watch(pair) as watch:
        event_s = time.monotonic()
        with suspended(pair, old):
            pair.outage_s(event_s, lambda: pair.serves(other(old)), 15)
            pair.calm()
        woken_s = time.monotonic()
        held = ["sh", "-c", "ip -4 address show | grep -c 10.77.0.100/ || true"]
        pair.cluster.wait(
            "the address is left", lambda: pair.lab.exec(old, held).stdout.strip() == "0", 10
        )
        print(f"the woken node left the address after {time.monotonic() - woken_s:.1f} s")
        whole_again(pair, watch)
        assert pair.primary() == other(old)


def test_without_the_witness_a_death_ends_the_service_until_it_is_back(pair: Pair) -> None:
    pair.lab.kill(WITNESS)
    try:
        told = lambda: "cannot rule now" in journal(pair, "a")  # noqa: E731
        pair.cluster.wait("the loss of the witness is told", told, 15)
        old = pair.primary()
        pair.twofold(old, "swap", pair.module)  # what the two agree on needs no witness
        pair.whole()
        new = other(old)
        pair.calm()
        pair.lab.kill(new)
        time.sleep(TIMEOUT_S + 3)
        assert pair.shown(old).startswith("SECOND")
        assert "nobody can rule" in pair.twofold(old, "why", pair.module)[1]
    finally:
        pair.lab.start(WITNESS)
    pair.cluster.wait("the service is back", lambda: pair.serves(old), 20)
    pair.lab.start(new)
    pair.whole()
    pair.nothing_lost()


def test_the_loss_of_one_network_of_two_is_an_alarm_and_nothing_else(pair: Pair) -> None:
    node = pair.primary()
    epoch = (pair.cluster.state(node, pair.module) or {})["epoch"]
    event_s = time.monotonic()
    pair.lab.cut(other(node), ["flow"])
    try:
        told = lambda: "not heard on network flow" in journal(pair, node)  # noqa: E731
        pair.cluster.wait("it is told", told, 15)
        assert pair.primary() == node
        assert pair.outage_s(event_s, lambda: pair.serves(node)) < TIMEOUT_S + 1
    finally:
        pair.lab.heal()
    pair.whole()
    state = pair.cluster.state(node, pair.module) or {}
    assert (pair.primary(), state["epoch"]) == (node, epoch), "nobody took over or went on alone"
    pair.nothing_lost()


@pytest.mark.long
@pytest.mark.parametrize("delay_s", [0.4, 0.7, 1.0, 1.3])
def test_a_hand_over_in_which_one_direction_is_lost(pair: Pair, delay_s: float) -> None:
    """What the primary says does not arrive any more; at which step, is left to the delay."""
    old = pair.primary()
    with Watch(pair) as watch:
        event_s = time.monotonic()
        swap = Beside(pair, old, "swap", pair.module)
        time.sleep(delay_s)
        part(pair, old)
        try:
            serving = lambda: [n for n in NODES if pair.serves(n)]  # noqa: E731
            pair.outage_s(event_s, lambda: len(serving()) == 1, 30)
            time.sleep(TIMEOUT_S + 2)
            assert len(serving()) == 1
        finally:
            join(pair, old)
            print(swap.end())
        whole_again(pair, watch)


@pytest.mark.long
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.4])
def test_the_second_has_won_the_term_as_they_lose_each_other(pair: Pair, delay_s: float) -> None:
    """The primary is not heard, and may still hear that the other has claimed the service."""
    old = pair.primary()
    new = other(old)
    epoch = lambda: (pair.cluster.state(new, pair.module) or {}).get("epoch", 0)  # noqa: E731
    before = epoch()
    with Watch(pair) as watch:
        event_s = time.monotonic()
        part(pair, old)
        try:
            pair.cluster.wait("the term is taken", lambda: epoch() > before, 15)
            time.sleep(delay_s)
            part(pair, new)
            serving = lambda: [n for n in NODES if pair.shown(n).startswith("ALONE")]  # noqa: E731
            pair.outage_s(event_s, lambda: len(serving()) == 1, 20)
            winner = serving()[0]
            time.sleep(TIMEOUT_S + 2)
            assert serving() == [winner]
        finally:
            join(pair, *NODES)
        whole_again(pair, watch)


@pytest.mark.long
@pytest.mark.parametrize("apart_s", [3.1, 3.2, 3.3, 3.4, 3.5, 4.5, 5.5])
def test_the_two_meet_again_before_the_witness_has_answered(pair: Pair, apart_s: float) -> None:
    """What it gives is not used any more, or was never heard; it has made no copy old for good, and
    does not keep the second from serving when the primary dies afterwards.
    """
    old = pair.primary()
    with Watch(pair) as watch:
        with suspended(pair, WITNESS):
            part(pair, *NODES)
            try:
                time.sleep(apart_s)
            finally:
                join(pair, *NODES)
        pair.whole()
        print(pair.twofold(pair.primary(), "why", pair.module, "-H", "*")[1][-1500:])
        last = pair.primary()
        pair.calm()
        event_s = time.monotonic()
        pair.lab.kill(last)
        pair.outage_s(event_s, lambda: pair.serves(other(last)), 15)
        pair.lab.start(last)
        whole_again(pair, watch)
    print(f"{old} served, then {last}")


def test_the_witness_shows_whom_it_rules_for(pair: Pair) -> None:
    shown = json.loads(pair.cluster.twofold(WITNESS, "witness", "status", "--json").stdout)
    assert shown["clusters"][0]["name"] == "w1"
    assert shown["claims"][0]["module"] == pair.module and shown["claims"][0]["term"] >= 1
    listed = pair.twofold("b", "cluster", "witness", "list")[1]
    assert "w1" in listed and "10.77.0.8:9013" in listed
