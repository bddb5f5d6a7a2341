"""When a service is ready: it accepts a connection where `ready` says, and it runs.

A `command` is watched by its own driver, which knows at once when it ends. All other kinds wait
here, after their start has succeeded: something else may listen at that place, so the driver is
asked, too, whether the service runs.
"""

from __future__ import annotations

import asyncio

from twofold.adapters.services.driver import Driver
from twofold.config.schema import Ready
from twofold.config.values import split_host_port
from twofold.errors import StartFailed

GAP_S = 0.05
_CONNECT_BOUND_S = 1.0
_LOOK_EVERY = 20  # gaps: asking an engine of containers costs more than a connection


async def accepts(ready: Ready) -> bool:
    host, port = split_host_port(ready.tcp)
    try:
        async with asyncio.timeout(_CONNECT_BOUND_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def until_ready(driver: Driver, ready: Ready, bound_s: float) -> None:
    """Raises `StartFailed` when the service ends first, or is not ready within `bound_s`."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + bound_s
    looks = 0
    while not await accepts(ready):
        looks += 1
        if looks % _LOOK_EVERY == 0:
            await _runs(driver, ready)
        if loop.time() > end_s:
            raise StartFailed(
                f"The service {driver.name} did not accept connections on {ready.tcp} within "
                f"{bound_s:g} s.",
                "Correct `ready` of the service, or give it a longer start_timeout.",
            )
        await asyncio.sleep(GAP_S)
    await _runs(driver, ready)


async def _runs(driver: Driver, ready: Ready) -> None:
    status = await driver.status()
    if not status.running:
        raise StartFailed(
            f"The service {driver.name} ended before it was ready on {ready.tcp}: {status.detail}.",
            "Its own log says why.",
        )
