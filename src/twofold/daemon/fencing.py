"""The watchdog is armed while a module serves here, and fed as long as the daemon's loop turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twofold.adapters.watchdog_device import FEED_EVERY_S, WatchdogDevice
from twofold.daemon.driver import ModuleDriver
from twofold.machine.model import RUNNING
from twofold.ports import ClockPort


class Fencing:
    def __init__(
        self,
        device: WatchdogDevice,
        drivers: Callable[[], Iterable[ModuleDriver]],
        clock: ClockPort,
        note: Callable[[str, str], None],
    ) -> None:
        self._device = device
        self._drivers = drivers
        self._clock = clock
        self._note = note

    async def run(self) -> None:
        """Until cancelled; whoever ends the daemon in order disarms it."""
        try:
            while True:
                self._look()
                await self._clock.sleep(FEED_EVERY_S)
        finally:
            self._device.disarm()

    def _look(self) -> None:
        serves = any(d.view.state in RUNNING for d in self._drivers())
        armed = self._device.armed
        if serves:
            self._device.feed()
        elif armed:
            self._device.disarm()
        if armed != self._device.armed:
            what = "armed" if self._device.armed else "let go"
            self._note(f"the watchdog {self._device.path} is {what}", "info")
