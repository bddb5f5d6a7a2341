"""The witnesses of the cluster as this daemon knows them: shared by all modules, and watched.

Every few seconds each arbiter is asked whether it could rule. The modules hear the answer (it is
in `twofold state`), and a change is written into the journal: a witness that is gone is an alarm
long before anybody needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from twofold.daemon.driver import ModuleDriver
from twofold.daemon.journal import Entry, Journal
from twofold.machine.events import ArbiterHeard
from twofold.ports import ArbiterPort, ClockPort, Verdict

LOOK_EVERY_S = 3.0
_WHAT = {"witness": "the witness", "ping": "a ping address"}


class Arbitration:
    def __init__(
        self,
        bound_s: float,
        drivers: Callable[[], Iterable[ModuleDriver]],
        *,
        clock: ClockPort,
        journal: Journal,
    ) -> None:
        self._bound_s = bound_s
        self._drivers = drivers
        self._clock = clock
        self._journal = journal
        self._known: dict[str, bool] = {}

    async def run(self) -> None:
        """Until cancelled. One look for each kind, however many modules there are."""
        while True:
            groups: dict[str, list[ModuleDriver]] = {}
            for driver in self._drivers():
                if driver.parts.arbiter is not None:
                    groups.setdefault(driver.view.settings.arbitration, []).append(driver)
            looks = [self._look(kind, drivers) for kind, drivers in groups.items()]
            await asyncio.gather(*looks)
            await self._clock.sleep(LOOK_EVERY_S)

    async def _look(self, kind: str, drivers: Sequence[ModuleDriver]) -> None:
        arbiter: ArbiterPort | None = drivers[0].parts.arbiter
        if arbiter is None:
            return
        verdict = await arbiter.look(self._bound_s)
        self._note(kind, verdict)
        for driver in drivers:
            driver.post(ArbiterHeard(verdict.ok, verdict.text))

    def _note(self, kind: str, verdict: Verdict) -> None:
        before, what = self._known.get(kind), _WHAT.get(kind, kind)
        self._known[kind] = verdict.ok
        if before == verdict.ok or (before is None and verdict.ok):
            return
        if verdict.ok:
            sentence, severity = f"{what} can rule again: {verdict.text}", "info"
        else:
            then = "if the nodes lose each other now, nobody serves"
            sentence, severity = f"{what} cannot rule now ({verdict.text}): {then}", "alarm"
        self._journal.write(
            Entry(self._clock.wall_s(), "", severity, sentence, code="witness.note")
        )
