"""The networks between two hosts, each direction of each with its own faults.

A datagram arrives on every network that carries it, so only the first arrival is played. A TCP
connection needs one network in both directions to begin; afterwards its bytes wait for a direction
that is cut, as retransmission does.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.clockwork import Clockwork

NETWORKS = ("flow", "lan")


@dataclass
class Direction:
    up: bool = True
    loss: float = 0.0
    delay_s: float = 0.0005
    spread_s: float = 0.001


class Network:
    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self.ways = {(net, source): Direction() for net in NETWORKS for source in "ab"}
        self.witness = {"a": True, "b": True}  # whether a node reaches the witnesses at all

    def heal(self) -> None:
        for way in self.ways:
            self.ways[way] = Direction()
        self.witness = {"a": True, "b": True}

    def datagram_delay_s(self, source: str) -> float | None:
        """When the first copy arrives, or None: none does."""
        best: float | None = None
        for net in NETWORKS:
            way = self.ways[net, source]
            if not way.up or (way.loss and self._clockwork.chance(way.loss)):
                continue
            delay_s = way.delay_s + way.spread_s * self._clockwork.dice.random()
            best = delay_s if best is None else min(best, delay_s)
        return best

    def both_ways(self) -> str | None:
        """A network over which a connection can be made now."""
        for net in NETWORKS:
            if self.ways[net, "a"].up and self.ways[net, "b"].up:
                return net
        return None

    def connected_delay_s(self, net: str, source: str) -> float:
        """Loss is a delay for a connection."""
        way = self.ways[net, source]
        delay_s = way.delay_s + way.spread_s * self._clockwork.dice.random()
        while way.loss and self._clockwork.chance(way.loss) and delay_s < 3.0:
            delay_s += 0.2
        return delay_s

    def loss(self) -> bool:
        """The weather is bad."""
        return any(way.loss for way in self.ways.values())

    def up(self, net: str, source: str) -> bool:
        return self.ways[net, source].up
