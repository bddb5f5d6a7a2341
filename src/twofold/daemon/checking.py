"""Asks a module's checkers where they are to be asked; a verdict that counts becomes an event.

Nothing is asked while the application is being started or stopped, and every start begins with
clean tallies: what failed before a restart says nothing about what runs after it. A probe that
could not be made (`ProbeNotMade`, or a bug of ours) says nothing about what it asks, so it leaves
the tally as it is. Each checker is a task that waits for its own probe only.

On the node that serves, a failure has the consequence that its `action` says. On the secondary it
is an alarm, once for each spell of failure. A checker that comes and goes is an alarm too.

A checker with the action `wait` is asked on both nodes, in every state but STOP: a node for which
it fails does not begin to serve, and the machine is told when it is well (or was switched off).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from twofold.config.schema_checkers import Checker
from twofold.daemon.driver import ModuleDriver
from twofold.daemon.parts import Watched
from twofold.errors import ProbeNotMade
from twofold.machine.events import CheckerTripped, CheckerWell
from twofold.machine.model import RUNNING, State
from twofold.machine.verdicts import Tally, count

HISTORY_MAX = 20
WAIT = "wait"
Note = Callable[[str, str], None]
log = logging.getLogger("twofold.checking")


@dataclass(frozen=True)
class Change:
    """A verdict that was not the one before."""

    at: float  # seconds since 1970
    ok: bool
    text: str


@dataclass
class Asked:
    """One checker: what it says now, and the last changes of its verdict, newest last."""

    watched: Watched
    tally: Tally
    history: deque[Change] = field(default_factory=lambda: deque[Change](maxlen=HISTORY_MAX))
    said: bool = True  # on the secondary: the last verdict that was written down
    during: int = 0  # the job after which the tally began

    def begin(self, during: int) -> None:
        """With a clean tally."""
        self.tally, self.said = Tally(self.watched.failures, self.watched.successes), True
        self.during = during


def _unsaid(severity: str, sentence: str) -> None:
    """Nobody keeps the journal."""


class Checking:
    """`note(severity, sentence)` writes into the journal."""

    def __init__(self, driver: ModuleDriver, note: Note = _unsaid) -> None:
        self._driver = driver
        self._note = note
        self.asked = {
            w.port.name: Asked(w, Tally(w.failures, w.successes)) for w in driver.parts.checkers
        }

    @property
    def tallies(self) -> dict[str, Tally]:
        """What `twofold state` shows."""
        return {name: asked.tally for name, asked in self.asked.items()}

    def is_off(self, name: str) -> bool:
        return self._driver.is_off(name)

    async def run(self) -> None:
        """All checkers of the module, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for asked in self.asked.values():
                group.create_task(self._watch(asked))

    def _active(self, watched: Watched) -> bool:
        view = self._driver.view
        if view.job is not None or self.is_off(watched.port.name):
            return False
        if watched.action == WAIT:
            return view.state is not State.STOP
        if view.state in RUNNING:
            return watched.side in ("primary", "both")
        return view.state is State.SECOND and watched.side in ("second", "both")

    def change_thresholds(self, checkers: Iterable[Checker]) -> None:
        """How often is asked and what counts, from the next probe on; what is asked stays."""
        for checker in checkers:
            asked = self.asked.get(checker.name)
            if asked is None:
                continue
            asked.watched = replace(
                asked.watched,
                interval_s=checker.interval_s,
                failures=checker.failures,
                successes=checker.successes,
            )
            asked.tally = replace(
                asked.tally,
                failures_to_count=checker.failures,
                successes_to_clear=checker.successes,
            )

    async def _watch(self, asked: Asked) -> None:
        while True:
            await asyncio.sleep(asked.watched.interval_s)
            watched = asked.watched
            name = watched.port.name
            if self.is_off(name) and name in self._driver.view.unwell:
                self._driver.post(CheckerWell(name))
            self._begin_anew(asked)
            if self._active(watched):
                await self._ask(asked)
            self._begin_anew(asked)

    def _begin_anew(self, asked: Asked) -> None:
        """When it is not to be asked now, or something was started or stopped since."""
        if not self._active(asked.watched) or self._outdated(asked):
            asked.begin(self._driver.jobs_begun)

    def _outdated(self, asked: Asked) -> bool:
        """What is waited for lies outside the application: a restart says nothing about it."""
        return asked.watched.action != WAIT and asked.during != self._driver.jobs_begun

    async def _ask(self, asked: Asked) -> None:
        name, before = asked.watched.port.name, asked.tally
        try:
            verdict = await asked.watched.port.probe()
        except ProbeNotMade as e:
            asked.tally = replace(before, text=f"could not be asked: {e}", tripped=False)
            return
        except Exception as e:  # a checker's bug must not look like a failing application
            log.exception("checker %s has a bug", name)
            told = f"could not be asked: {type(e).__name__}"
            asked.tally = replace(before, text=told, tripped=False)
            return
        if not self._active(asked.watched) or self._outdated(asked):
            return
        tally = asked.tally = count(before, verdict.ok, verdict.text)
        if tally.ok is not None and (not asked.history or asked.history[-1].ok != tally.ok):
            asked.history.append(Change(self._driver.wall_s(), tally.ok, tally.text))
        if tally.unsteady and not before.unsteady:
            self._note(
                "alarm",
                f"checker {name} comes and goes ({tally.text}); "
                "it takes twice as many probes to count until it is steady again",
            )
        self._follow(asked, tally)

    def _follow(self, asked: Asked, tally: Tally) -> None:
        """What a verdict leads to."""
        name, view = asked.watched.port.name, self._driver.view
        action = asked.watched.action
        if tally.tripped and (view.state in RUNNING or action == WAIT):
            self._driver.post(CheckerTripped(name, action, tally.text))
        if tally.ok and name in view.unwell:
            self._driver.post(CheckerWell(name))
        if view.state is not State.SECOND:
            return
        if tally.ok is None or tally.ok == asked.said:
            return
        asked.said = tally.ok
        node = view.settings.node
        if tally.ok:
            self._note("info", f"checker {name} is well again on {node}: {tally.text}")
        else:
            self._note("alarm", f"checker {name} failed on {node}, the secondary ({tally.text})")
