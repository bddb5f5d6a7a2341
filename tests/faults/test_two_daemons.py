"""Two real daemons on loopback with fake engines: what a person and a power cut do to them.

The heartbeat timeout is 1 s here, so that the bounds are seen quickly.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.two_nodes import TwoNodes

pytestmark = pytest.mark.timeout(90)
WHOLE = "PRIM:Ready SECOND:Ready"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[TwoNodes]:
    pair = TwoNodes(tmp_path, "max_loops = 2")
    try:
        yield pair
    finally:
        pair.close()


def form(nodes: TwoNodes) -> None:
    nodes.start("a", "b")
    assert nodes.do("a", "prim") == "a serves"
    nodes.do("b", "start")
    nodes.until_states(WHOLE)


def test_start_refusals_and_swap(nodes: TwoNodes) -> None:
    nodes.start("a", "b")
    assert nodes.do("a", "swap").startswith("refused: not possible: the module is stopped on a")
    assert nodes.do("a", "prim") == "a serves"
    assert nodes.do("b", "prim") == "refused: prim refused: a is ALONE and serves"
    assert "no module 'fils'" in nodes.ask("a", "stop", module="fils")["error"]["text"]
    nodes.do("b", "start")
    nodes.until_states(WHOLE)
    nodes.do("b", "swap")  # on the SECOND: it is the primary that does it
    assert nodes.until_states("SECOND:Ready PRIM:Ready") < 2.0
    assert nodes.story() == ["a start", "a stop", "b start"]


def test_power_cut_of_the_primary_and_its_return(nodes: TwoNodes) -> None:
    form(nodes)
    nodes.kill("a")
    assert nodes.until_states("off ALONE:Ready") < 1.0 + 1.5
    nodes.start("a")
    nodes.until_states("SECOND:Ready PRIM:Ready")
    state = nodes.state("b")
    assert state is not None
    assert state["sentence"] == "Serving; a has everything."
    assert state["peer"]["networks"] == {"lan": True, "flow": True}
    decisions = nodes.ask("b", "why", module="files", limit=20)["decisions"]
    assert any("a is silent on all networks for 1 s" in d["sentence"] for d in decisions)


def test_power_cut_of_the_second_leaves_the_application_alone(nodes: TwoNodes) -> None:
    form(nodes)
    nodes.kill("b")
    nodes.until_states("ALONE:Ready off")
    nodes.start("b")
    nodes.until_states(WHOLE)
    assert nodes.story() == ["a start"]


def test_daemons_come_back_and_touch_nothing(nodes: TwoNodes) -> None:
    form(nodes)
    before = nodes.state("a")
    assert before is not None
    for name in ("a", "b"):
        nodes.kill_daemon(name)
        time.sleep(1.5)  # longer than the timeout: the link lives, so nobody takes over
        nodes.start(name)
        nodes.until_states(WHOLE)
    after = nodes.state("a")
    assert after is not None
    assert after["services"] == before["services"]
    assert after["epoch"] == before["epoch"]
    assert nodes.story() == ["a start"]


def test_orderly_stop_gives_the_service_away_at_once(nodes: TwoNodes) -> None:
    form(nodes)
    nodes.do("a", "stop")
    assert nodes.until_states("STOP:NotReady ALONE:Ready") < 2.0
    assert nodes.story() == ["a start", "a stop", "b start"]
    nodes.do("b", "stop")
    nodes.until_states("STOP:NotReady STOP:NotReady")
    nodes.do("a", "start")  # its copy is older: it waits, and says so
    nodes.until_states("WAIT:NotReady STOP:NotReady")
    refused = nodes.do("a", "prim")
    assert refused.startswith("refused: prim refused: a cannot know whether"), refused
    nodes.do("b", "start")
    nodes.until_states("SECOND:Ready PRIM:Ready")


def test_a_service_that_dies_is_restarted_then_moved(nodes: TwoNodes) -> None:
    form(nodes)
    for _ in range(3):
        state = nodes.state("a")
        assert state is not None
        if state["state"] != "PRIM":
            break
        pid = state["services"][0]["pid"]
        nodes.end_process(pid)

        def moved_on(gone: int = pid) -> bool:
            now = nodes.state("a")
            if now is None:
                return False
            # What it remembers of the failure is on disk before it acts: it still says PRIM then.
            running = now["services"][0]["pid"]
            return running not in (gone, None) or now["state"] != "PRIM"

        nodes.until(moved_on, "the service is restarted or gone")
        nodes.until(lambda: "Transient" not in nodes.states(), "calm")
    assert nodes.until_states("STOP:NotReady ALONE:Ready") >= 0
    text = [d["sentence"] for d in nodes.ask("a", "why", module="files", limit=30)["decisions"]]
    assert any("2 times is enough: b takes over" in t for t in text), text


def test_keys_are_rotated_under_a_running_pair(nodes: TwoNodes) -> None:
    form(nodes)
    pki = [nodes.root / n / "etc" / "pki" for n in ("a", "b")]
    before = [[(p / f).read_bytes() for f in ("heartbeat.key", "node.key")] for p in pki]
    assert nodes.ask("b", "cluster_rotate_keys", timeout_s=60.0)["ok"]
    after = [[(p / f).read_bytes() for f in ("heartbeat.key", "node.key")] for p in pki]
    assert after[0][0] == after[1][0] and len(after[0][0].split()) == 1
    assert not {k for keys in before for k in keys} & {k for keys in after for k in keys}
    nodes.until_states(WHOLE)
    assert nodes.story() == ["a start"]  # nobody stopped anything
    sentences = [e["sentence"] for e in nodes.ask("a", "log", limit=100)["entries"]]
    assert not [s for s in sentences if "not heard" in s or "wrong key" in s], sentences
    nodes.kill_daemon("a")  # and a daemon that begins now takes them up
    nodes.start("a")
    nodes.until_states(WHOLE)
    # It serves at once, and gives away when it has heard the other.
    nodes.until(lambda: not nodes.do("a", "swap").startswith("refused"), "a swap is taken")
    nodes.until_states("SECOND:Ready PRIM:Ready")
