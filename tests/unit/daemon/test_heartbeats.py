"""Heartbeats: heard once whatever the way, strangers refused, a silent network only noted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twofold.config.load import NodeConfig, parse_cluster
from twofold.daemon.heartbeats import Heartbeats
from twofold.daemon.journal import Entry
from twofold.errors import NodeUnreachable
from twofold.machine.events import PeerHeard
from twofold.machine.model import Report, Settings, State, View
from twofold.wire.heartbeat import Heartbeat, decode, encode

KEY = bytes(32)
CLUSTER_ID = "9f0c1d2e-0000-4000-8000-000000000001"
CLUSTER = f"""
[cluster]
id = "{CLUSTER_ID}"
[heartbeat]
interval = "100ms"
timeout = "1s"
[[network]]
name = "lan"
[[network]]
name = "flow"
[[node]]
name = "a"
addresses = {{ lan = "10.0.0.1", flow = "10.0.1.1" }}
[[node]]
name = "b"
addresses = {{ lan = "10.0.0.2", flow = "10.0.1.2" }}
"""


class Link:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def on_datagram(self, told: Callable[[str, bytes], None]) -> None:
        self.told = told

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    async def run(self) -> None: ...


class Control:
    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    async def request(
        self, node: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        self.asked.append({**body, "node": node})
        raise NodeUnreachable("it is not there")

    async def serve(self, handle: object) -> None: ...


class Clock:
    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None: ...


class Journal:
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def write(self, entry: Entry) -> None:
        self.sentences.append(f"{entry.severity}: {entry.sentence}")


class Driver:
    name = "files"
    report = Report(state=State.PRIM, epoch=3)

    def __init__(self, name: str = "files", peer: str = "b") -> None:
        self.name, self.view = name, View(settings=Settings(peer=peer))
        self.heard: list[Report] = []

    def post(self, event: object) -> None:
        assert isinstance(event, PeerHeard)
        self.heard.append(event.report)


class Bench:
    def __init__(self) -> None:
        self.link, self.control, self.clock = Link(), Control(), Clock()
        self.journal, self.driver = Journal(), Driver()
        self.others: list[Driver] = []
        self.beats = Heartbeats(
            NodeConfig(Path("/nowhere"), "a", parse_cluster(CLUSTER)),
            KEY,
            7,
            self.link,
            self.control,
            clock=self.clock,
            journal=self.journal,  # type: ignore[arg-type]
            drivers=lambda: [self.driver, *self.others],  # type: ignore[list-item]
        )

    def hear(self, counter: int, network: str = "lan", **changes: Any) -> None:
        fields: dict[str, Any] = {"cluster": CLUSTER_ID, "node": "b", "incarnation": 1, **changes}
        beat = Heartbeat(counter=counter, modules={"files": Report(epoch=counter)}, **fields)
        for datagram in encode(beat, KEY):
            self.beats.hear(network, datagram)


def test_each_is_heard_once_whatever_the_way() -> None:
    bench = Bench()
    for network in ("lan", "flow", ""):
        bench.hear(1, network)
    bench.hear(2, "")
    bench.hear(1, "lan")
    assert [r.epoch for r in bench.driver.heard] == [1, 2]
    assert bench.beats.networks("b") == {"lan": True, "flow": True}


def test_strangers_are_refused_and_said_once() -> None:
    bench = Bench()
    bench.hear(1, cluster="another")
    bench.hear(2, cluster="another")
    bench.beats.hear("lan", b"garbage")
    bench.hear(3, node="c")  # one that is just joining: no alarm
    assert bench.driver.heard == []
    assert len(bench.journal.sentences) == 1
    assert "of another cluster" in bench.journal.sentences[0]


async def test_a_silent_network_is_an_alarm_and_no_more() -> None:
    bench = Bench()
    bench.hear(1, "lan")
    bench.hear(1, "flow")
    bench.clock.now_s += 1.5
    bench.hear(2, "lan")
    task = asyncio.create_task(bench.beats.run())
    await asyncio.sleep(0)
    task.cancel()
    assert bench.journal.sentences == ["alarm: node b is not heard on network flow any more"]
    assert bench.beats.networks("b") == {"lan": True, "flow": False}
    bench.hear(3, "flow")
    assert bench.journal.sentences[-1] == "info: node b is heard on network flow again"


async def test_what_must_not_be_missed_also_goes_over_the_control_channel() -> None:
    bench = Bench()
    bench.beats.beat()
    assert bench.control.asked == []
    bench.beats.beat(urgent=True)
    await asyncio.sleep(0.01)
    (asked,) = bench.control.asked
    assert (asked["node"], asked["command"]) == ("b", "peer_heartbeat")
    assert bytes.fromhex(asked["datagram"]) == bench.link.sent[-1]
    counters = [decode(d, KEY).counter for d in bench.link.sent]
    assert counters == [1, 2]


def test_only_the_module_with_news_speaks_between_beats() -> None:
    bench = Bench()
    bench.others = [Driver(f"module-{i}") for i in range(30)]
    bench.beats.beat(only="module-7")
    (datagram,) = bench.link.sent
    assert set(decode(datagram, KEY).modules) == {"module-7"}
    bench.link.sent.clear()
    bench.beats.beat()
    assert len({n for d in bench.link.sent for n in decode(d, KEY).modules}) == 31


def test_a_report_counts_from_the_module_s_other_node_only() -> None:
    bench = Bench()
    bench.driver.view = View(settings=Settings(peer="c"))
    bench.hear(1)
    assert bench.driver.heard == []
