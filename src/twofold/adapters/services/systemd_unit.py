"""A service that is a systemd unit: systemd runs it, we tell it when and look at how it fares.

The unit must not start at boot by itself (`systemctl disable`); `twofold doctor` says so. Systemd's
own `Restart=` may bring a unit back before we notice: that is not a failure. We look every two
seconds, and once at each question.

On a machine in trouble systemd may be slow to answer. No answer is no state: nothing follows
from it, the question is asked again, and meanwhile what was known last holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from twofold.adapters.services import family, records
from twofold.adapters.services.driver import Told
from twofold.adapters.services.place import Place
from twofold.adapters.services.scripts import Outcome, run_bounded
from twofold.config.schema import Service
from twofold.errors import StartFailed, StopFailed
from twofold.ports import ServiceStatus
from twofold.system import output
from twofold.system.child import Launch
from twofold.system.systemctl import UnitState, no_answer, read_show
from twofold.wire.service_record import ServiceRecord

_LOOK_EVERY_S = 2.0
_SHOW_BOUND_S = 10.0
_KILL_BOUND_S = 10.0
_ANSWER_BOUND_S = 30.0
_ASK_AGAIN_S = 0.2
_MISSING_PROGRAM = 126
_STATES_DOWN = ("inactive", "failed")


class SystemdUnit:
    """The `Driver` of a systemd unit."""

    def __init__(self, service: Service, place: Place, told: Told) -> None:
        self._service, self._place, self._told = service, place, told
        assert service.systemd is not None
        self._unit = service.systemd
        self._looking: asyncio.Task[None] | None = None
        self._last = no_answer()

    @property
    def name(self) -> str:
        return self._service.name

    async def start(self) -> None:
        records.save(self._place.run, self._record())
        outcome = await self._systemctl("start", self._unit, bound_s=self._service.start_timeout_s)
        if not outcome.ok:
            raise StartFailed(
                f"The systemd unit {self._unit} of {self._place.module} could not be started: "
                f"systemctl {outcome.sentence()}",
                f"See: journalctl -u {self._unit}",
            )
        state = await self._answer(self._service.start_timeout_s)
        # The start itself came to a good end; should the unit be down, the next look finds it.
        if state.answered and not state.running:
            raise StartFailed(
                f"The systemd unit {self._unit} of {self._place.module} was started, "
                f"but it is {state.active} ({state.sub})",
                f"See: journalctl -u {self._unit}",
            )
        self._look()

    async def stop(self) -> None:
        if records.load(self._place.run, self.name) is None:
            return
        self.forget()
        bound_s = self._service.stop_timeout_s
        outcome = await self._systemctl("stop", self._unit, bound_s=bound_s)
        state = await self._answer(_ANSWER_BOUND_S)
        if not outcome.ok or state.active not in _STATES_DOWN:
            await self._systemctl("kill", "--signal=SIGKILL", self._unit, bound_s=_KILL_BOUND_S)
            await self._systemctl("stop", self._unit, bound_s=_KILL_BOUND_S)
            state = await self._answer(_ANSWER_BOUND_S)
        if state.active not in _STATES_DOWN:
            raise StopFailed(
                f"The systemd unit {self._unit} of {self._place.module} could not be stopped: "
                f"it is {state.active} ({state.sub}) after SIGKILL",
                f"See: systemctl status {self._unit}",
            )
        records.drop(self._place.run, self.name)

    async def adopt(self) -> bool:
        if records.load(self._place.run, self.name) is None:
            return False
        if not (await self._answer(_ANSWER_BOUND_S)).running:
            return False
        self._look()
        return True

    async def status(self) -> ServiceStatus:
        state = await self._state()
        detail = f"systemd unit {self._unit}: {state.active} ({state.sub})"
        if not state.answered:
            state = self._last
            detail += f"; systemd does not answer, before it was {state.active} ({state.sub})"
        return ServiceStatus(self.name, state.running, state.pid, detail)

    def log_names(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}.show")

    def forget(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _record(self) -> ServiceRecord:
        return ServiceRecord(
            service=self.name,
            side=self._service.side,
            boot_id=family.boot_id(),
            cookie=secrets.token_hex(8),
            pid=None,
            start_ticks=None,
            control_group=None,
            stop_timeout_s=self._service.stop_timeout_s,
            systemd=self._unit,
        )

    def _look(self) -> None:
        self.forget()
        self._looking = asyncio.create_task(self._until_down(), name=f"unit {self._unit}")

    async def _until_down(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            with contextlib.suppress(StartFailed):
                state = await self._state()
                if state.active in _STATES_DOWN:
                    self._told(self.name, f"the unit {self._unit} is {state.active} ({state.sub})")
                    return

    async def _answer(self, bound_s: float) -> UnitState:
        """The unit's state; asked until systemd answers or the time is over."""
        clock = asyncio.get_running_loop().time
        until_s = clock() + bound_s
        while True:
            state = await self._state()
            if state.answered or clock() >= until_s:
                return state
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _state(self) -> UnitState:
        properties = "--property=ActiveState,SubState,MainPID"
        outcome = await self._systemctl("show", properties, self._unit, bound_s=_SHOW_BOUND_S)
        state = read_show(outcome.last) if outcome.ok else no_answer()
        if state.answered:
            self._last = state
        return state

    async def _systemctl(self, *words: str, bound_s: float) -> Outcome:
        # What a look prints has its own file, so that the other one stays readable.
        log = self._place.log(f"{self.name}.show" if words[0] == "show" else self.name)
        if words[0] == "show":
            await asyncio.to_thread(output.rotate, log, 1 << 16)
        outcome = await run_bounded(
            Launch(("systemctl", *words), self._place.variables(""), log), bound_s
        )
        if outcome.ended is not None and outcome.ended.code == _MISSING_PROGRAM:
            raise StartFailed(
                f"The service {self.name} of {self._place.module} is a systemd unit, but this "
                "machine has no systemctl",
                "Use `command` or `script` instead.",
            )
        return outcome
