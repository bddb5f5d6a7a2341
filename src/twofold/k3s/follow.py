"""The watch on K3s of one node: looks every two seconds, for as long as the module runs here.

Where the module serves, it does what `takeover` finds to be this node's duty: again and again while
the other node is dead (pods may still be bound to it by a scheduler that has not heard), and once
more after each failure, with a pause that grows. On both nodes it restarts a K3s that is up, has
its datastore, and yet is not ready for a minute: K3s reconnects by itself, nearly always. Where the
module serves, the volumes are given the sizes of their claims (`quota`).

Everything outside comes through `World`. Nothing that happens here is a failure of the module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from twofold.errors import TwofoldError
from twofold.k3s.takeover import SERVING, Duty, Report, Sight, duty

LOOK_EVERY_S = 2.0
HEALTH_EVERY_S = 10.0
VOLUMES_EVERY_S = 30.0
AGAIN_AFTER_S = (2.0, 20.0, 60.0)  # after something changed; then; and from then on
RETRY_S, RETRY_MAX_S = 2.0, 30.0
READY_WITHIN_S = 60.0
RESTART_PAUSE_S = 300.0


@dataclass(frozen=True)
class Health:
    """K3s on this node. `active`: systemd runs it (not starting, not stopped by a person)."""

    active: bool
    datastore: bool
    ready: bool


class World(Protocol):
    def now_s(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def sight(self) -> Sight | None:
        """None: the daemon does not answer."""
        ...

    def act(self, what: Duty) -> Report | None:
        """One bounded attempt; None: there is no Kubernetes here (yet)."""
        ...

    def health(self) -> Health | None:
        """None: there is no K3s here (yet)."""
        ...

    def restart_k3s(self) -> None: ...

    def limit_volumes(self) -> list[str]:
        """Begins to give each volume its size, beside the watch: a dead node does not wait for it.
        What the one before has done, in sentences; nothing while it is still at it."""
        ...

    def say(self, sentence: str) -> None: ...


@dataclass
class Patience:
    """How long K3s has had its datastore and was not ready."""

    since_s: float | None = None
    restarted_s: float | None = None

    def is_over(self, health: Health, now_s: float) -> bool:
        if health.ready or not health.active or not health.datastore:
            self.since_s = None
            return False
        if self.since_s is None:
            self.since_s = now_s
        if now_s - self.since_s < READY_WITHIN_S:
            return False
        if self.restarted_s is not None and now_s - self.restarted_s < RESTART_PAUSE_S:
            return False
        self.since_s, self.restarted_s = None, now_s
        return True


@dataclass
class Follower:
    world: World
    _patience: Patience = field(default_factory=Patience)
    _duty: Duty = Duty.NOTHING
    _due_s: float = 0.0
    _health_due_s: float = 0.0
    _volumes_due_s: float = 0.0
    _calm: int = 0  # attempts in a row that found nothing to do
    _failures: int = 0
    _said: str = ""

    def run(self) -> None:
        """Until the process is ended."""
        while True:
            self.look()
            self.world.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        sight = self.world.sight()
        for part in (self._do_duty, self._look_after_k3s, self._look_after_volumes):
            try:
                part(sight)
            except TwofoldError as e:
                self._say(f"not now: {e}")

    def _do_duty(self, sight: Sight | None) -> None:
        if sight is None:
            return
        what, now_s = duty(sight), self.world.now_s()
        if what is not self._duty:
            self._duty, self._due_s, self._calm, self._failures = what, now_s, 0, 0
        if what is Duty.NOTHING or now_s < self._due_s:
            return
        report = self.world.act(what)
        if report is None:
            self._due_s = now_s + RETRY_MAX_S
            return
        self._told(what, report)
        self._due_s = self.world.now_s() + self._pause_s(report)

    def _pause_s(self, report: Report) -> float:
        if not report.done:
            self._failures += 1
            self._calm = 0
            return float(min(RETRY_S * 2 ** (self._failures - 1), RETRY_MAX_S))
        self._failures = 0
        self._calm = 0 if report.changed else self._calm + 1
        return AGAIN_AFTER_S[min(self._calm, len(AGAIN_AFTER_S) - 1)]

    def _told(self, what: Duty, report: Report) -> None:
        for sentence in sentences(what, report):
            self._say(sentence)

    def _look_after_volumes(self, sight: Sight | None) -> None:
        now_s = self.world.now_s()
        if sight is None or sight.state not in SERVING or now_s < self._volumes_due_s:
            return
        self._volumes_due_s = now_s + VOLUMES_EVERY_S
        for sentence in self.world.limit_volumes():
            self._say(sentence)

    def _look_after_k3s(self, _sight: Sight | None) -> None:
        now_s = self.world.now_s()
        if now_s < self._health_due_s:
            return
        self._health_due_s = now_s + HEALTH_EVERY_S
        health = self.world.health()
        if health is not None and self._patience.is_over(health, now_s):
            self._say(
                f"K3s has its datastore but was not ready for {READY_WITHIN_S:g} s: restarted"
            )
            self.world.restart_k3s()

    def _say(self, sentence: str) -> None:
        """Each sentence once, until another one is said."""
        if sentence != self._said:
            self._said = sentence
            self.world.say(sentence)


def sentences(what: Duty, report: Report) -> list[str]:
    """What a person reads in the log, and in the answer of `twofold k3s takeover`."""
    said: list[str] = []
    if report.leases:
        said.append(f"released the leases of {report.node}: {', '.join(report.leases)}")
    if report.tainted:
        said.append(f"{report.node} is out of service for Kubernetes")
    if report.pods:
        said.append(f"deleted {len(report.pods)} pods of {report.node}")
    said += [f"{name} is back in service for Kubernetes" for name in report.untainted]
    if report.stopped:
        said.append("the other node is back, so nothing more was done for a dead one")
    said += [f"not done yet: {problem}" for problem in report.problems]
    return said
