"""Armed while something serves, let go when nothing does or the daemon ends in order."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twofold.adapters.watchdog_device import WatchdogDevice
from twofold.daemon.fencing import Fencing
from twofold.machine.model import State, View


class QuickClock:
    def monotonic_s(self) -> float:
        return 0.0

    def wall_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


async def test_the_watchdog_follows_the_service(tmp_path: Path) -> None:
    file = tmp_path / "watchdog"
    file.touch()
    driver: Any = SimpleNamespace(view=View(state=State.SECOND))
    notes: list[str] = []
    device = WatchdogDevice(str(file))
    fencing = Fencing(device, lambda: [driver], QuickClock(), lambda text, _s: notes.append(text))
    task = asyncio.create_task(fencing.run())
    await asyncio.sleep(0.05)
    assert file.read_bytes() == b""
    driver.view = View(state=State.ALONE)
    await asyncio.sleep(0.1)
    assert device.armed and set(file.read_bytes()) == {ord("1")}
    driver.view = View(state=State.WAIT)
    await asyncio.sleep(0.05)
    assert not device.armed and file.read_bytes().endswith(b"V")
    driver.view = View(state=State.PRIM)
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert not device.armed and [n.rsplit(" ", 1)[-1] for n in notes] == ["armed", "go", "armed"]
