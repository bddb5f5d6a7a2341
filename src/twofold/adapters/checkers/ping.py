"""Does a host answer an ICMP echo?

Who watches a router with this should know: when the router itself dies, every node sees it fail.
"""

from __future__ import annotations

import time

from twofold.adapters.checkers.names import address_of
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict
from twofold.system.echo import reached


class PingChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._host, self._timeout_s = checker.host or "", checker.timeout_s

    async def probe(self) -> Verdict:
        start_s = time.monotonic()
        try:
            address = await address_of(self._host, self._timeout_s)
        except OSError as error:
            return Verdict(False, str(error))
        if await reached(address, self._timeout_s):
            took_ms = (time.monotonic() - start_s) * 1000
            return Verdict(True, f"{self._host} answered in {took_ms:.1f} ms")
        return Verdict(False, f"{self._host} did not answer an echo within {self._timeout_s:g} s")
