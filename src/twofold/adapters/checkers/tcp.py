"""Does something accept a TCP connection there?"""

from __future__ import annotations

import asyncio
import time

from twofold.adapters.checkers.names import address_of, plain
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.config.values import split_host_port
from twofold.ports import Verdict


class TcpChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._timeout_s = checker.timeout_s
        self._address = checker.address or ""
        self._host, self._port = split_host_port(self._address)

    async def probe(self) -> Verdict:
        start_s = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                address = await address_of(self._host, self._timeout_s)
                _, writer = await asyncio.open_connection(address, self._port)
        except TimeoutError:
            return Verdict(False, f"no answer from {self._address} within {self._timeout_s:g} s")
        except OSError as error:
            return Verdict(False, f"{self._address} could not be reached: {plain(error)}")
        writer.close()
        took_ms = round((time.monotonic() - start_s) * 1000)
        return Verdict(True, f"connected to {self._address} in {took_ms} ms")
