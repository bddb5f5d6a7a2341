"""Heartbeats of this node: said on every network at a steady beat and at each change; heard,
checked and handed to the modules.

The silence of one network while another speaks is an alarm in the journal and nothing more. A
change that must not be missed (a hand-over, a goodbye) also goes over the control channel, as the
very same datagram: whichever way is first counts, the other is recognised as seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from twofold.config.load import NodeConfig
from twofold.daemon.driver import ModuleDriver
from twofold.daemon.journal import Entry, Journal
from twofold.errors import PeerRefused, TwofoldError
from twofold.machine.events import PeerHeard
from twofold.ports import ClockPort, ControlPort, HeartbeatPort
from twofold.wire.heartbeat import Heartbeat, Replay, decode, encode

URGENT_TIMEOUT_S = 2.0
_COMPLAIN_EVERY_S = 60.0
log = logging.getLogger("twofold.heartbeat")


@dataclass
class Hearing:
    """What is heard of one node, by network."""

    replay: Replay = field(default_factory=Replay)
    last_s: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    silent: set[str] = field(default_factory=lambda: set[str]())


class Heartbeats:
    def __init__(
        self,
        node: NodeConfig,
        key: bytes,
        incarnation: int,
        link: HeartbeatPort,
        control: ControlPort,
        *,
        clock: ClockPort,
        journal: Journal,
        drivers: Callable[[], Iterable[ModuleDriver]],
    ) -> None:
        self._node = node
        self._keys: Sequence[bytes] = (key,)
        self._incarnation = incarnation
        self._link = link
        self._control = control
        self._clock = clock
        self._journal = journal
        self._drivers = drivers
        self._counter = 0
        self._hearing = {peer.name: Hearing() for peer in node.peers}
        self._urgent: set[asyncio.Task[None]] = set()
        self._complained_s = 0.0
        link.on_datagram(self.hear)

    async def run(self) -> None:
        """The steady beat, until cancelled. A late beat is not made up for."""
        interval_s = self._node.cluster.heartbeat.interval_s
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            self.beat()
            self._watch_networks()
            next_s = max(next_s + interval_s, loop.time())
            await asyncio.sleep(next_s - loop.time())

    def beat(self, urgent: bool = False, only: str | None = None) -> None:
        """Say now what is to be said: of all modules, or of the one that has news.

        Of many modules that change at once (a node takes all of them over) each says its own news
        only; otherwise n modules would say n times n.
        """
        reports = {d.name: d.report for d in self._drivers() if only in (None, d.name)}
        modules = {name: report for name, report in reports.items() if report is not None}
        first = self._counter + 1
        cluster = self._node.cluster.cluster.id
        beat = Heartbeat(cluster, self._node.name, self._incarnation, first, modules)
        for datagram in encode(beat, self._keys[0]):
            self._counter += 1
            self._link.send(datagram)
            if urgent:
                self._say_urgently(datagram)

    def _say_urgently(self, datagram: bytes) -> None:
        for peer in self._node.peers:
            task = asyncio.create_task(self._over_control(peer.name, datagram))
            self._urgent.add(task)
            task.add_done_callback(self._urgent.discard)

    async def _over_control(self, peer: str, datagram: bytes) -> None:
        body = {"command": "peer_heartbeat", "datagram": datagram.hex()}
        with contextlib.suppress(TwofoldError):  # the datagrams and the next beat say it too
            await self._control.request(peer, body, URGENT_TIMEOUT_S)

    def hear(self, network: str, datagram: bytes) -> None:
        """`network` is "" for what came over the control channel."""
        try:
            beat = self._decoded(datagram)
            if beat.cluster != self._node.cluster.cluster.id:
                raise PeerRefused(f"a heartbeat of node {beat.node!r} of another cluster was heard")
        except PeerRefused as e:
            self._complain(network, e)
            return
        hearing = self._hearing.get(beat.node)
        if hearing is None or not hearing.replay.known(beat):
            return
        if network:
            self._heard_on(hearing, beat.node, network)
        if not hearing.replay.fresh(beat):
            return
        for driver in self._drivers():
            report = beat.modules.get(driver.name)
            if report is not None and driver.view.settings.peer == beat.node:
                driver.post(PeerHeard(report))

    def use_keys(self, keys: Sequence[bytes]) -> None:
        """The first is said, all are heard; there are several while the key is being changed."""
        self._keys = tuple(keys)

    def _decoded(self, datagram: bytes) -> Heartbeat:
        for key in self._keys[:-1]:
            with contextlib.suppress(PeerRefused):
                return decode(datagram, key)
        return decode(datagram, self._keys[-1])

    def _complain(self, network: str, error: PeerRefused) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._complained_s >= _COMPLAIN_EVERY_S:
            self._complained_s = now_s
            self._note("alarm", f"{error.sentence} on network {network or 'control'}; refused")

    def _heard_on(self, hearing: Hearing, node: str, network: str) -> None:
        hearing.last_s[network] = self._clock.monotonic_s()
        if network in hearing.silent:
            hearing.silent.discard(network)
            self._note("info", f"node {node} is heard on network {network} again", "network.heard")

    def _watch_networks(self) -> None:
        now_s = self._clock.monotonic_s()
        for node, hearing in self._hearing.items():
            for network, last_s in hearing.last_s.items():
                silent_s = now_s - last_s
                late = silent_s >= self._node.cluster.heartbeat.timeout_s
                if late and network not in hearing.silent:
                    hearing.silent.add(network)
                    sentence = f"node {node} is not heard on network {network} any more"
                    self._note("alarm", sentence, "network.silent")

    def _note(self, severity: str, sentence: str, code: str = "") -> None:
        self._journal.write(Entry(self._clock.wall_s(), "", severity, sentence, code=code))

    def networks(self, node: str) -> dict[str, bool]:
        """Whether the node is heard, for each network of the cluster."""
        hearing = self._hearing.get(node)
        timeout_s = self._node.cluster.heartbeat.timeout_s
        now_s = self._clock.monotonic_s()
        heard: dict[str, bool] = {}
        for network in self._node.cluster.networks:
            last_s = hearing.last_s.get(network.name) if hearing else None
            heard[network.name] = last_s is not None and now_s - last_s < timeout_s
        return heard
