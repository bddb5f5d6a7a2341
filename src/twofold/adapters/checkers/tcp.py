"""Does something accept a TCP connection there?"""

from __future__ import annotations

import asyncio
import time

from twofold.config.schema import Checker
from twofold.config.values import split_host_port
from twofold.ports import Verdict


class TcpChecker:
    def __init__(self, checker: Checker) -> None:
        self.name = checker.name
        self._timeout_s = checker.timeout_s
        self._address = checker.address or ""
        self._host, self._port = split_host_port(self._address)

    async def probe(self) -> Verdict:
        start_s = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except TimeoutError:
            return Verdict(False, f"no answer from {self._address} within {self._timeout_s:g} s")
        except OSError as error:
            why = error.strerror or str(error)
            return Verdict(False, f"{self._address} could not be reached: {why}")
        writer.close()
        took_ms = round((time.monotonic() - start_s) * 1000)
        return Verdict(True, f"connected to {self._address} in {took_ms} ms")
