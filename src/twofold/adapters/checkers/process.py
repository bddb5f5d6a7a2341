"""Does a service's process still run?"""

from __future__ import annotations

import asyncio

from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.errors import TwofoldError
from twofold.ports import Verdict


class ProcessChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._checker, self._application = checker, target.application

    async def probe(self) -> Verdict:
        service = self._checker.service
        try:
            async with asyncio.timeout(self._checker.timeout_s):
                found = await self._application.status()
        except TimeoutError:
            return Verdict(False, f"no answer about {service} within {self._checker.timeout_s:g} s")
        except TwofoldError as error:
            return Verdict(False, str(error))
        for status in found:
            if status.name == service:
                return Verdict(status.running, f"{service}: {status.detail}")
        return Verdict(False, f"the module has no service {service}")
