"""A service that is a `command`: started here, watched here, and alive without us.

The record is written before the process exists and completed after, so that a daemon killed in
between leaves no process that its successor cannot find (by the cookie). The process holds nothing
of the daemon; a successor adopts it by number and start time and goes on watching.

Stop: SIGTERM to the first process; when that has ended, SIGTERM to what it left behind; when the
time is over, SIGKILL to all.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from dataclasses import replace
from pathlib import Path

from twofold.adapters.services import control_group, family, records
from twofold.adapters.services.census import read_stat
from twofold.adapters.services.driver import Told
from twofold.adapters.services.place import Place
from twofold.adapters.services.ready import GAP_S, accepts
from twofold.config.schema import Service
from twofold.errors import StartFailed, StopFailed
from twofold.ports import ServiceStatus
from twofold.system import child, output
from twofold.system.child import Child, Ended, Launch
from twofold.wire.service_record import ServiceRecord

SETTLE_S = 0.2  # without `ready`, a process that lives this long counts as started
FORCE_BOUND_S = 5.0


class Supervised:
    """The `Driver` of a command."""

    def __init__(self, service: Service, place: Place, told: Told) -> None:
        self._service, self._place, self._told = service, place, told
        self._child: Child | None = None
        self._record: ServiceRecord | None = None
        self._quiet = True  # while starting and stopping, an end is no news
        self._log_start_bytes = 0

    @property
    def name(self) -> str:
        return self._service.name

    async def start(self) -> None:
        if await self.adopt():
            self._quiet = True
        else:
            await self._end_leftovers()
            await self._spawn()
        try:
            await self._until_ready()
        except StartFailed:
            await self._force_end()
            raise
        self._quiet = False

    async def stop(self) -> None:
        self._quiet = True
        record = self._record or records.load(self._place.run, self.name)
        if record is None:
            return
        await self._end_in_order(record)
        left = await asyncio.to_thread(family.force_end, record, FORCE_BOUND_S)
        if left:
            raise StopFailed(
                f"The service {self.name} of {self._place.module} could not be stopped: "
                f"{', '.join(left)} survived SIGKILL",
                "A process in state D waits for its disk; look at the disk, or restart the node.",
            )
        self._gone()

    async def adopt(self) -> bool:
        if self._child is not None and not self._child.ended.done():
            return True
        record = records.load(self._place.run, self.name)
        if record is None or not family.is_alive(record.pid, record.start_ticks):
            return False
        assert record.pid is not None
        self._record, self._quiet = record, False
        self._watch(child.watch(record.pid))
        return True

    async def status(self) -> ServiceStatus:
        running = self._child is not None and not self._child.ended.done()
        if running and self._child is not None:
            return ServiceStatus(
                self.name, True, self._child.pid, f"process {self._child.pid} runs"
            )
        if self._child is not None and self._record is not None:
            return ServiceStatus(self.name, False, None, f"ended: {self._child.ended.result()}")
        return ServiceStatus(self.name, False, None, "not started")

    def log_names(self) -> tuple[str, ...]:
        return (self.name,)

    def forget(self) -> None:
        if self._child is not None:
            self._child.forget()

    async def _spawn(self) -> None:
        service, place = self._service, self._place
        log = place.log(self.name)
        await asyncio.to_thread(output.rotate, log)
        self._log_start_bytes = output.size_bytes(log)
        cookie = secrets.token_hex(8)
        group = control_group.make_group(f"twofold.{place.module}.{self.name}.{cookie}")
        record = ServiceRecord(
            service=self.name,
            side=service.side,
            boot_id=family.boot_id(),
            cookie=cookie,
            pid=None,
            start_ticks=None,
            control_group=str(group) if group else None,
            stop_timeout_s=service.stop_timeout_s,
        )
        records.save(place.run, record)
        self._record, self._quiet = record, True
        launch = Launch(
            command=service.command or (),
            variables={
                **service.environment,
                **place.variables(cookie, TWOFOLD_SERVICE=self.name),
            },
            log=log,
            user=service.user or "",
            directory=service.directory or "",
            control_group=record.control_group or "",
        )
        try:
            process = await child.spawn_whole(launch)
        except OSError as error:
            raise self._start_failed(f"could not be started: {error.strerror}") from error
        stat = read_stat(process.pid)
        ticks = stat.start_ticks if stat is not None else None
        self._record = replace(record, pid=process.pid, start_ticks=ticks)
        records.save(place.run, self._record)
        self._watch(child.watch(process.pid, process))

    def _watch(self, watched: Child) -> None:
        self._child = watched
        watched.ended.add_done_callback(lambda ended: self._on_end(watched, ended.result()))

    def _on_end(self, watched: Child, ended: Ended) -> None:
        if self._quiet or watched is not self._child:
            return
        last = output.last_lines(self._place.log(self.name), self._log_start_bytes)
        self._told(self.name, f"{ended}; last output: {last or 'none'}")

    async def _until_ready(self) -> None:
        assert self._child is not None
        bound_s = self._service.start_timeout_s
        if self._service.ready is None:
            ended = await self._child.wait(min(SETTLE_S, bound_s))
            if ended is not None:
                raise self._start_failed(f"ended at once: {ended}")
            return
        loop = asyncio.get_running_loop()
        end_s = loop.time() + bound_s
        while not await accepts(self._service.ready):
            ended = await self._child.wait(GAP_S)
            if ended is not None:
                raise self._start_failed(f"ended before it was ready: {ended}")
            if loop.time() > end_s:
                raise self._start_failed(
                    f"did not accept connections on {self._service.ready.tcp} within {bound_s:g} s"
                )
        # Something else may listen there: what counts is that ours runs too.
        ended = await self._child.wait(0)
        if ended is not None:
            raise self._start_failed(
                f"ended before it was ready ({ended}), "
                f"and something else listens on {self._service.ready.tcp}"
            )

    async def _end_in_order(self, record: ServiceRecord) -> None:
        """SIGTERM and patience, within the service's stop time."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + record.stop_timeout_s
        if self._child is None and family.is_alive(record.pid, record.start_ticks):
            assert record.pid is not None
            self._watch(child.watch(record.pid))
        if self._child is not None:
            self._child.signal(signal.SIGTERM)
            await self._child.wait(record.stop_timeout_s)
        left = await asyncio.to_thread(family.members, record)
        if left and loop.time() < end_s:
            await asyncio.to_thread(family.signal_all, record, signal.SIGTERM)
        while left and loop.time() < end_s:
            await asyncio.sleep(min(0.05, max(0.0, end_s - loop.time())))
            left = await asyncio.to_thread(family.members, record)

    async def _end_leftovers(self) -> None:
        """What a start that was interrupted, or a first process that died, left behind."""
        record = records.load(self._place.run, self.name)
        if record is not None:
            left = await asyncio.to_thread(family.force_end, record, FORCE_BOUND_S)
            if left:
                raise self._start_failed(f"cannot start while {', '.join(left)} of it still lives")
            self._gone()

    async def _force_end(self) -> None:
        if self._record is not None:
            left = await asyncio.to_thread(family.force_end, self._record, FORCE_BOUND_S)
            if not left:
                self._gone()

    def _gone(self) -> None:
        records.drop(self._place.run, self.name)
        if self._child is not None and self._child.process is not None:
            self._child.process.poll()
        self.forget()
        self._record, self._child = None, None

    def _start_failed(self, what: str) -> StartFailed:
        log: Path = self._place.log(self.name)
        last = output.quoted(output.last_lines(log, self._log_start_bytes))
        return StartFailed(
            f"The service {self.name} of {self._place.module} {what}. {last}",
            f"All its output is in {log}.",
        )
