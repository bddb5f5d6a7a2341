"""Who rules in the simulated world: witnesses that keep claims on disk, or an address to ping.

The decisions are the product's own (`machine/arbitration.py`). A witness may be dead for a while;
what it has claimed it keeps. A ping only tells whether the address answers: it is no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.machine.arbitration import (
    NOBODY,
    Answer,
    Claim,
    decide,
    first_epoch,
    ruling,
    term_of,
)
from twofold.machine.events import ClaimAnswered

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import SimWorld


class Arbiter:
    def __init__(self, world: SimWorld, witnesses: int) -> None:
        self.world = world
        self.stored = [NOBODY] * witnesses
        self.alive = [True] * witnesses

    def ask(self, host: Host, epoch: int, bound_s: float) -> None:
        """The answer comes to the daemon that asked, within the bound."""
        daemon, clockwork = host.daemon, self.world.clockwork
        assert daemon is not None
        if self.world.plant == "claim skipped":
            told = ClaimAnswered(epoch, True)
            clockwork.after(0.002, daemon, daemon.post, told)
            return
        if self.world.arbitration == "ping":
            heard = self.world.network.witness[host.name]
            told = ClaimAnswered(epoch, True if heard else None, text="" if heard else "no answer")
            clockwork.after(0.02 if heard else bound_s, daemon, daemon.post, told)
            return
        asked = Claim(term_of(epoch), host.name)
        answers: list[Answer | None] = []
        for number in range(len(self.stored)):
            delay_s = clockwork.between(0.001, 0.05)
            clockwork.after(delay_s, None, self._claimed, host.name, number, asked, answers)
        clockwork.after(0.12, daemon, self._told, host, epoch, asked, answers, bound_s)

    def _claimed(self, name: str, number: int, asked: Claim, answers: list[Answer | None]) -> None:
        """At a witness. The question may come through and the answer not."""
        if not self.alive[number] or not self.world.network.witness[name]:
            answers.append(None)
            return
        answer = decide(self.stored[number], asked)
        self.stored[number] = answer.stored
        lost = self.world.network.loss() and self.world.clockwork.chance(0.3)
        answers.append(None if lost else answer)

    def _told(
        self,
        host: Host,
        epoch: int,
        asked: Claim,
        answers: list[Answer | None],
        bound_s: float,
    ) -> None:
        daemon = host.daemon
        if daemon is None or not daemon.alive:
            return
        said = ruling(asked, answers, len(self.stored))
        told = ClaimAnswered(epoch, said.won, said.holder, first_epoch(said.term), said.text)
        delay_s = 0.001 if said.won is not None else bound_s
        self.world.clockwork.write(f"      ruling for {host.name} on {asked.term}: {said.won}")
        self.world.clockwork.after(delay_s, daemon, daemon.post, told)
