"""Is a systemd unit active? Also one that is no service of the module, such as a timer."""

from __future__ import annotations

from twofold.adapters.checkers.program import Program
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict
from twofold.system.systemctl import read_show

_PROPERTIES = "--property=ActiveState,SubState,MainPID"


class SystemdChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._unit, self._timeout_s = checker.unit or "", checker.timeout_s
        self._program = Program(("systemctl", "show", _PROPERTIES, "--", self._unit), plain=True)

    async def probe(self) -> Verdict:
        answer = await self._program.run(self._timeout_s)
        if answer.code is None:
            return Verdict(
                False, f"systemd did not answer about {self._unit} within {self._timeout_s:g} s"
            )
        if answer.code != 0:
            return Verdict(False, f"systemd does not tell of {self._unit}: {answer.last_line}")
        state = read_show(answer.text)
        return Verdict(state.running, f"unit {self._unit} is {state.active} ({state.sub})")
