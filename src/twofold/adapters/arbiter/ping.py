"""`arbitration = "ping"`: whoever reaches one of the addresses may go on.

ICMP echo over a raw socket. It tells "I am cut off" from "the other one is gone" in the usual case
of one pulled cable; it cannot tell two halves of a network that both reach an address. After a time
in which nothing answered, the address must answer twice, a heartbeat timeout apart: by then the
other node would have been heard if it could be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from twofold.machine.arbitration import Ruling
from twofold.ports import Verdict
from twofold.system.echo import reached


class PingArbiter:
    """Implements `twofold.ports.ArbiterPort`."""

    def __init__(self, addresses: Sequence[str], settle_s: float) -> None:
        self._addresses = addresses
        self._settle_s = settle_s

    async def claim(self, term: int, again: bool, bound_s: float) -> Ruling:
        verdict = await self.look(bound_s)
        if again and verdict.ok:
            await asyncio.sleep(self._settle_s)
            verdict = await self.look(bound_s)
        return Ruling(True if verdict.ok else None, text=verdict.text)

    async def look(self, bound_s: float) -> Verdict:
        pings = [asyncio.create_task(reached(a, bound_s)) for a in self._addresses]
        try:
            for done in asyncio.as_completed(pings):
                if address := await done:
                    return Verdict(True, f"{address} answers")
        finally:
            for ping in pings:
                ping.cancel()
        return Verdict(False, f"no answer from {', '.join(self._addresses)}")
