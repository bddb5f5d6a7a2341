"""The application of one module: its services and scripts, in order.

Start of a side: its services in the order of the file, each ready before the next, then the
script (`start`, `start_both`, `start_second`). Stop: the script first, then the services in
reverse; one that fails does not keep the others from being stopped. `prestart` runs before the
first side is started, `poststop` after the last one was stopped. Which sides were started is kept
in the run directory, so a daemon that was killed in the middle knows where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from twofold.adapters.services import records, tools
from twofold.adapters.services.driver import Driver, Told
from twofold.adapters.services.managed import Managed
from twofold.adapters.services.place import Place
from twofold.adapters.services.ready import until_ready
from twofold.adapters.services.scripts import ModuleScripts, ScriptPair
from twofold.adapters.services.supervised import Supervised
from twofold.adapters.services.systemd_unit import SystemdUnit
from twofold.config.schema import Service
from twofold.errors import BrokenInvariant, StartFailed, StopFailed
from twofold.ports import ServiceStatus
from twofold.system import output
from twofold.wire.service_record import ServiceRecord, SideState

_SCRIPTS = {
    "primary": ("start", "stop"),
    "both": ("start_both", "stop_both"),
    "second": ("start_second", "stop_second"),
}
_ROTATE_EVERY_S = 10.0


def _no_facts() -> Mapping[str, str]:
    return {}


class Application:
    """The `ApplicationPort` of one module.

    `run`: the module's run directory (RUN/NAME); `scripts`: its scripts' directory; `facts`:
    variables that change with the state (TWOFOLD_STATE, TWOFOLD_PEER, ...), asked at each call.
    """

    def __init__(
        self,
        module: str,
        node: str,
        services: Sequence[Service],
        *,
        run: Path,
        scripts: Path,
        facts: Callable[[], Mapping[str, str]] = _no_facts,
    ) -> None:
        self._place = Place(module, node, run / "services", scripts, facts)
        self._told: Told = _nobody
        self._drivers: list[tuple[str, Driver]] = [(s.side, self._driver(s)) for s in services]
        self._waited_for = {s.name: s for s in services if s.command is None}
        self._scripts = ModuleScripts(self._place)
        self._rotating: asyncio.Task[None] | None = None

    def on_exit(self, told: Callable[[str, str], None]) -> None:
        self._told = told

    async def start(self, side: str) -> None:
        start_script, _ = _scripts_of(side)
        first = not records.load_sides(self._place.run)
        self._mark(side, "starting")
        self._keep_logs_bounded()
        if first:
            await self._scripts.run("prestart", failure=StartFailed)
        # A configuration may have changed while the daemon was away.
        for stranger in self._strangers(side):
            await stranger.stop()
        for driver in self._of(side):
            await driver.start()
            service = self._waited_for.get(driver.name)
            if service is not None and service.ready is not None:
                await until_ready(driver, service.ready, service.start_timeout_s)
        await self._scripts.run(start_script, failure=StartFailed)
        self._mark(side, "started")

    async def stop(self, side: str) -> None:
        _, stop_script = _scripts_of(side)
        started = side in records.load_sides(self._place.run)
        failures: list[StopFailed] = []
        if started:
            self._mark(side, "stopping")
            await _note(failures, self._scripts.run(stop_script, failure=StopFailed))
        for driver in reversed(self._of(side) + self._strangers(side)):
            await _note(failures, driver.stop())
        if failures:
            raise failures[0] if len(failures) == 1 else StopFailed(" ".join(map(str, failures)))
        self._mark(side, None)
        if not records.load_sides(self._place.run):
            await self._leave_logs()
            if started:
                await self._scripts.run("poststop", failure=StopFailed)

    async def adopt(self) -> bool:
        sides = records.load_sides(self._place.run)
        found = [
            await driver.adopt() for side, driver in self._drivers if sides.get(side) is not None
        ]
        self._keep_logs_bounded()
        return bool(sides) and all(found) and all(s == "started" for s in sides.values())

    async def status(self) -> Sequence[ServiceStatus]:
        return [await driver.status() for _, driver in self._drivers]

    async def script(self, name: str, *arguments: str) -> None:
        """Call another script of the module (transition), if there. Raises `ApplicationError`."""
        await self._scripts.run(name, *arguments)

    async def close(self) -> None:
        """The daemon ends: watching ends, everything runs on."""
        await self._leave_logs()
        for _, driver in self._drivers:
            driver.forget()

    def _driver(self, service: Service) -> Driver:
        def told(name: str, why: str) -> None:
            self._told(name, why)

        if service.command is not None:
            return Supervised(service, self._place, told)
        if service.script is not None:
            return ScriptPair(service, self._place)
        if service.systemd is not None:
            return SystemdUnit(service, self._place, told)
        if service.compose is not None:
            engine = "docker" if shutil.which("docker") or not shutil.which("podman") else "podman"
            project = f"twofold-{self._place.module}-{service.name}"
            file = self._place.scripts / service.compose  # an absolute one stays what it is
            tool = tools.compose(engine, file, project, service.stop_timeout_s)
            return Managed(service, self._place, tool, told)
        if service.libvirt is not None:
            return Managed(service, self._place, tools.libvirt(service.libvirt), told)
        raise BrokenInvariant(f"The service {service.name} has nothing to run.")

    def _of(self, side: str) -> list[Driver]:
        return [driver for of, driver in self._drivers if of == side]

    def _strangers(self, side: str) -> list[Driver]:
        """Services that were started and are no longer in the configuration."""
        known = {driver.name for _, driver in self._drivers}
        return [
            self._driver(_forgotten(record))
            for record in records.recorded(self._place.run)
            if record.side == side and record.service not in known
        ]

    def _mark(self, side: str, state: SideState | None) -> None:
        sides = records.load_sides(self._place.run)
        sides.pop(side, None)
        if state is not None:
            sides[side] = state
        records.save_sides(self._place.run, sides)

    def _keep_logs_bounded(self) -> None:
        if self._rotating is None or self._rotating.done():
            self._rotating = asyncio.create_task(self._rotate(), name="service logs")

    async def _leave_logs(self) -> None:
        rotating, self._rotating = self._rotating, None
        if rotating is not None:
            rotating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rotating

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(_ROTATE_EVERY_S)
            for _, driver in self._drivers:
                for name in driver.log_names():
                    if output.size_bytes(self._place.log(name)) >= output.ROTATE_BYTES:
                        await asyncio.to_thread(output.rotate, self._place.log(name))


async def _note(failures: list[StopFailed], stopping: Coroutine[Any, Any, None]) -> None:
    try:
        await stopping
    except StopFailed as failure:
        failures.append(failure)


def _scripts_of(side: str) -> tuple[str, str]:
    if side not in _SCRIPTS:
        raise BrokenInvariant(f"{side} is no side of a module; known are {', '.join(_SCRIPTS)}.")
    return _SCRIPTS[side]


def _forgotten(record: ServiceRecord) -> Service:
    """Enough of a service to stop it."""
    kinds = ("systemd", "script", "compose", "libvirt")
    runs: dict[str, Any] = {k: v for k in kinds if (v := getattr(record, k)) is not None}
    runs = runs or {"command": ["/bin/false"]}
    timeout = f"{record.stop_timeout_s:f}s"
    return Service.model_validate(
        {"name": record.service, "side": record.side, "stop_timeout": timeout, **runs}
    )


def _nobody(service: str, why: str) -> None:
    """Nobody has asked to be told yet."""
