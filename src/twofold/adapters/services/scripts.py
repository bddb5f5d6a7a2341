"""Scripts: short programs of the module that start and stop things, and answer with an exit code.

`ScriptPair` is a service whose `start` and `stop` are one script's two arguments; `ModuleScripts`
are the optional scripts called around changes of state. Every call has a bound, exit codes count,
and the output is kept in a log and quoted when something fails.

A script may leave processes running: they carry the cookie of the service, so a forced end finds
them. Only the script's own process is waited for, never the end of its output.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

from twofold.adapters.services import family, records
from twofold.adapters.services.place import Place
from twofold.config.schema import Service
from twofold.errors import ApplicationError, StartFailed, StopFailed
from twofold.ports import ServiceStatus
from twofold.system import child, output
from twofold.system.child import Ended, Launch
from twofold.wire.service_record import ServiceRecord

MODULE_SCRIPT_BOUND_S = 120.0
_TERM_GRACE_S = 2.0
_FORCE_BOUND_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a bounded run ended. `ended` is None when its time was over."""

    ended: Ended | None
    bound_s: float
    last: str

    @property
    def ok(self) -> bool:
        return self.ended is not None and self.ended.code == 0

    def sentence(self) -> str:
        how = f"did not end within {self.bound_s:g} s"
        if self.ended is not None:
            how = f"ended with {self.ended}" if self.ended.code else "succeeded"
        return f"{how}. {output.quoted(self.last)}"


async def run_bounded(launch: Launch, bound_s: float) -> Outcome:
    """Run a program to its end; one that takes longer is ended, SIGKILL included."""
    await asyncio.to_thread(output.rotate, launch.log)
    start_bytes = output.size_bytes(launch.log)
    process = await child.spawn_whole(launch)
    watched = child.watch(process.pid, process)
    try:
        ended = await watched.wait(bound_s)
        if ended is None:
            watched.signal(signal.SIGTERM)
            if await watched.wait(_TERM_GRACE_S) is None:
                watched.signal(signal.SIGKILL)
                await watched.wait(_TERM_GRACE_S)
    except asyncio.CancelledError:
        # Whoever cancels a start goes on to stop: the two must not run at the same time.
        child.end_group(process)
        raise
    finally:
        watched.forget()
    return Outcome(ended, bound_s, output.last_lines(launch.log, start_bytes))


class ScriptPair:
    """The `Driver` of a script called with `start` and `stop`."""

    def __init__(self, service: Service, place: Place) -> None:
        self._service, self._place = service, place
        assert service.script is not None
        self._program = place.scripts / service.script

    @property
    def name(self) -> str:
        return self._service.name

    async def start(self) -> None:
        record = records.load(self._place.run, self.name) or self._new_record()
        records.save(self._place.run, record)
        if not os.access(self._program, os.X_OK):
            raise StartFailed(
                f"The script {self._program} of the service {self.name} is not there or not "
                f"executable. Put it there and run: chmod +x {self._program}"
            )
        outcome = await self._call("start", record, self._service.start_timeout_s)
        if not outcome.ok:
            await asyncio.to_thread(family.force_end, record, _FORCE_BOUND_S)
            records.drop(self._place.run, self.name)
            raise StartFailed(
                f"The start script of the service {self.name} of {self._place.module} "
                f"{outcome.sentence()}"
            )

    async def stop(self) -> None:
        record = records.load(self._place.run, self.name)
        if record is None:
            return
        outcome = await self._call("stop", record, self._service.stop_timeout_s)
        left = await asyncio.to_thread(family.force_end, record, _FORCE_BOUND_S)
        if left:
            raise StopFailed(
                f"The service {self.name} of {self._place.module} could not be stopped: "
                f"{', '.join(left)} survived SIGKILL."
            )
        # What it had started is ended; what it only talked to, we cannot know.
        if not outcome.ok:
            raise StopFailed(
                f"The stop script of the service {self.name} of {self._place.module} "
                f"{outcome.sentence()}"
            )
        records.drop(self._place.run, self.name)

    async def adopt(self) -> bool:
        return records.load(self._place.run, self.name) is not None

    async def status(self) -> ServiceStatus:
        started = await self.adopt()
        detail = "its start script succeeded" if started else "not started"
        return ServiceStatus(self.name, started, None, detail)

    def log_names(self) -> tuple[str, ...]:
        return (self.name,)

    def forget(self) -> None:
        """Nothing is watched."""

    def _new_record(self) -> ServiceRecord:
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
            script=service.script,
        )

    async def _call(self, action: str, record: ServiceRecord, bound_s: float) -> Outcome:
        place = self._place
        more = {"TWOFOLD_SERVICE": self.name, "TWOFOLD_ACTION": action}
        launch = Launch(
            command=(str(self._program), action),
            variables={**self._service.environment, **place.variables(record.cookie, **more)},
            log=place.log(self.name),
            user=self._service.user or "",
            directory=self._service.directory or str(place.scripts),
        )
        return await run_bounded(launch, bound_s)


class ModuleScripts:
    """The optional scripts of a module; one that is not there succeeds."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def run(
        self, name: str, *arguments: str, failure: type[ApplicationError] = ApplicationError
    ) -> None:
        """Call scripts/NAME with these arguments; raises `failure` when it does."""
        program = self._place.scripts / name
        if not program.is_file():
            return
        if not os.access(program, os.X_OK):
            raise failure(f"The script {program} is not executable. Run: chmod +x {program}")
        launch = Launch(
            command=(str(program), *arguments),
            variables=self._place.variables(secrets.token_hex(8), TWOFOLD_ACTION=name),
            log=self._place.log(f"script-{name}"),
            directory=str(self._place.scripts),
        )
        outcome = await run_bounded(launch, MODULE_SCRIPT_BOUND_S)
        if not outcome.ok:
            raise failure(
                f"The script {name} of {self._place.module} {outcome.sentence()}",
                f"It is {program}.",
            )

    def log(self, name: str) -> Path:
        return self._place.log(f"script-{name}")
