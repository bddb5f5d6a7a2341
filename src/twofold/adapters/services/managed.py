"""A service that another program runs for us: containers by compose, a virtual machine by libvirt.

We say when, look every few seconds how it fares, and end it by force when an orderly stop takes
too long. What it is and how to ask is a `Tool`. A program that does not answer three looks in a row
(its own daemon is dead) counts as down; in a stop it is a failed stop, for something may still run.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from twofold.adapters.services import family, records
from twofold.adapters.services.driver import Told
from twofold.adapters.services.place import Place
from twofold.adapters.services.scripts import Outcome, run_bounded
from twofold.adapters.services.tools import Fare, Tool, Words
from twofold.config.schema import Service
from twofold.errors import StartFailed, StopFailed
from twofold.ports import ServiceStatus
from twofold.system.child import Launch
from twofold.wire.service_record import ServiceRecord

LOOK_EVERY_S = 3.0
SILENT_LOOKS = 3
_GAP_S = 0.3
_LOOK_BOUND_S = 10.0
_FORCE_BOUND_S = 20.0
_CANNOT_RUN = 126


class Managed:
    """The `Driver` of a `compose` or `libvirt` service."""

    def __init__(self, service: Service, place: Place, tool: Tool, told: Told) -> None:
        self._service, self._place, self._tool, self._told = service, place, tool, told
        self._looking: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._service.name

    async def start(self) -> None:
        records.save(self._place.run, self._record())
        if not (await self._look()).running:
            await self._begin()
        self._watch()

    async def _begin(self) -> None:
        tool, bound_s = self._tool, self._service.start_timeout_s
        loop = asyncio.get_running_loop()
        end_s = loop.time() + bound_s
        outcome = await self._run(tool.start, bound_s)
        if not outcome.ok:
            raise StartFailed(
                f"{tool.what} (service {self.name} of {self._place.module}) could not be started: "
                f"{tool.program} {outcome.sentence()}",
                self._hint(outcome),
            )
        while not (fare := await self._look()).running:
            if loop.time() > end_s:
                raise StartFailed(
                    f"{tool.what} (service {self.name} of {self._place.module}) did not run "
                    f"within {bound_s:g} s: {fare.detail}",
                    self._hint(outcome),
                )
            await asyncio.sleep(_GAP_S)

    async def stop(self) -> None:
        if records.load(self._place.run, self.name) is None:
            return
        self.forget()
        if (await self._look(strict=True)).there:
            await self._end_in_order()
        if (await self._look(strict=True)).there:
            await self._run(self._tool.force, _FORCE_BOUND_S)
            await self._until_gone(_FORCE_BOUND_S)
        fare = await self._look(strict=True)
        if fare.there:
            raise StopFailed(
                f"{self._tool.what} (service {self.name} of {self._place.module}) could not be "
                f"stopped: {fare.detail}",
                f"See: {' '.join(self._tool.look)}",
            )
        if self._tool.clean:
            await self._run(self._tool.clean, _FORCE_BOUND_S)
        records.drop(self._place.run, self.name)

    async def _end_in_order(self) -> None:
        bound_s, again_s = self._service.stop_timeout_s, self._tool.again_s
        loop = asyncio.get_running_loop()
        end_s = loop.time() + bound_s
        while (left_s := end_s - loop.time()) > 0:
            await self._run(self._tool.stop, left_s)
            patience_s = min(again_s, end_s - loop.time()) if again_s else end_s - loop.time()
            if await self._until_gone(max(0.0, patience_s)):
                return

    async def _until_gone(self, bound_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + bound_s
        while (await self._look()).there:
            if loop.time() > end_s:
                return False
            await asyncio.sleep(_GAP_S)
        return True

    async def adopt(self) -> bool:
        if records.load(self._place.run, self.name) is None or not (await self._look()).running:
            return False
        self._watch()
        return True

    async def status(self) -> ServiceStatus:
        fare = await self._look()
        return ServiceStatus(self.name, fare.running, None, f"{self._tool.what}: {fare.detail}")

    def log_names(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}.look")

    def forget(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _watch(self) -> None:
        self.forget()
        self._looking = asyncio.create_task(self._until_down(), name=f"service {self.name}")

    async def _until_down(self) -> None:
        silent = 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                fare = await self._look(strict=True)
            except StopFailed as e:
                silent += 1
                fare = Fare(False, silent < SILENT_LOOKS, str(e))
            else:
                silent = 0
            if not fare.running:
                self._told(self.name, f"{self._tool.what}: {fare.detail}")
                return

    async def _look(self, strict: bool = False) -> Fare:
        """`strict`: no answer is not taken for "nothing there"."""
        log = self._place.log(f"{self.name}.look")  # what a look prints keeps out of the log
        await asyncio.to_thread(log.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(log.write_bytes, b"")
        outcome = await self._run(self._tool.look, _LOOK_BOUND_S, log)
        text = await asyncio.to_thread(log.read_text, "utf-8", "replace")
        if outcome.ok:
            return self._tool.read(text)
        why = f"{' '.join(self._tool.look[:2])} {outcome.sentence()}"
        if strict:
            raise StopFailed(f"{self._tool.what}: {why}", self._hint(outcome))
        return Fare(False, False, why)

    async def _run(self, words: Words, bound_s: float, log: Path | None = None) -> Outcome:
        variables = {**self._service.environment, **self._place.variables("")}
        where = log or self._place.log(self.name)
        launch = Launch(words, variables, where, directory=self._service.directory or "")
        return await run_bounded(launch, bound_s)

    def _hint(self, outcome: Outcome) -> str:
        if outcome.ended is not None and outcome.ended.code == _CANNOT_RUN:
            return f"Is {self._tool.program} installed on this node?"
        return f"All its output is in {self._place.log(self.name)}."

    def _record(self) -> ServiceRecord:
        service = self._service
        return ServiceRecord(
            service=self.name,
            side=service.side,
            boot_id=family.boot_id(),
            cookie=secrets.token_hex(8),
            pid=None,
            start_ticks=None,
            control_group=None,
            stop_timeout_s=service.stop_timeout_s,
            compose=service.compose,
            libvirt=service.libvirt,
        )
