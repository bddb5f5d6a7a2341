"""Does another module serve: on this node, on another, or anywhere?

That is how modules depend on each other. A module checked by one that it checks itself would wait
for ever; the configuration refuses that (`config.check_checkers`).
"""

from __future__ import annotations

from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import ANYWHERE, HERE, Checker
from twofold.errors import TwofoldError
from twofold.ports import Verdict

_SERVING = ("ALONE", "PRIM", "UP")


class ModuleChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._module, self._node = checker.module or "", checker.node
        self._timeout_s, self._states = checker.timeout_s, target.module_states

    async def probe(self) -> Verdict:
        try:
            states = await self._states(self._module, self._node, self._timeout_s)
        except TwofoldError as error:
            return Verdict(False, f"module {self._module}: {error}")
        for node, state in states.items():
            if state in _SERVING:
                return Verdict(True, f"module {self._module} is {state} on node {node}")
        where = {HERE: "on this node", ANYWHERE: "on any node"}.get(self._node, f"on {self._node}")
        found = ", ".join(f"{state} on {node}" for node, state in states.items()) or "no answer"
        return Verdict(False, f"module {self._module} does not serve {where}: {found}")
