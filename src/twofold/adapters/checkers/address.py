"""Is the module's virtual address here, usable, and nobody else's?"""

from __future__ import annotations

import asyncio

from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.errors import TwofoldError
from twofold.ports import Verdict


class AddressChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._checker, self._address = checker, target.address

    async def probe(self) -> Verdict:
        bound_s = self._checker.timeout_s
        try:
            async with asyncio.timeout(bound_s):
                return await self._address.look(self._checker.ip)
        except TimeoutError:
            return Verdict(False, f"the kernel did not tell the addresses within {bound_s:g} s")
        except TwofoldError as error:
            return Verdict(False, str(error))
