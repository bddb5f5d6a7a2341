"""Asks a module's checkers while it serves; a verdict that counts becomes an event.

Nothing is asked while the application is being started or stopped, and every start begins with
clean tallies: what failed before a restart says nothing about what runs after it.
"""

from __future__ import annotations

import asyncio
import logging

from twofold.daemon.driver import ModuleDriver
from twofold.daemon.parts import Watched
from twofold.machine.events import CheckerTripped
from twofold.machine.model import SERVING
from twofold.machine.verdicts import Tally, count

log = logging.getLogger("twofold.checking")


class Checking:
    """`tallies` is what `twofold state` shows."""

    def __init__(self, driver: ModuleDriver) -> None:
        self._driver = driver
        self.tallies: dict[str, Tally] = {}

    async def run(self) -> None:
        """All checkers of the module, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watched in self._driver.parts.checkers:
                group.create_task(self._watch(watched))

    def _active(self) -> bool:
        view = self._driver.view
        return view.state in SERVING and view.job is None

    async def _watch(self, watched: Watched) -> None:
        name = watched.port.name
        fresh = Tally(watched.failures)
        tally = self.tallies[name] = fresh
        while True:
            await asyncio.sleep(watched.interval_s)
            if not self._active():
                tally = self.tallies[name] = fresh
                continue
            tally = await self._probe(watched, tally)
            if not self._active():
                tally = fresh
            self.tallies[name] = tally
            if tally.tripped:
                self._driver.post(CheckerTripped(name, watched.action, tally.text))

    async def _probe(self, watched: Watched, tally: Tally) -> Tally:
        try:
            verdict = await watched.port.probe()
        except Exception as e:  # a checker's bug must not look like a failing application
            log.exception("checker %s has a bug", watched.port.name)
            return count(tally, True, f"could not be asked: {type(e).__name__}")
        return count(tally, verdict.ok, verdict.text)
