"""Time. The daemon asks here and hands it to decisions as an argument."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Implements `twofold.ports.ClockPort`."""

    def monotonic_s(self) -> float:
        # BOOTTIME goes on while the machine sleeps: who wakes up must find its peer long silent.
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
