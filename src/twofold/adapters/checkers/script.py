"""What the module's own script says: exit code 0 is well; the last line it prints is the reason."""

from __future__ import annotations

from twofold.adapters.checkers.program import Program
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict


class ScriptChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._script, self._timeout_s = checker.script or "", checker.timeout_s
        self._variables = target.variables
        self._program = Program(
            (str(target.scripts / self._script), *checker.arguments),
            variables={"TWOFOLD_CHECKER": checker.name},
            user=checker.run_as or "",
            directory=str(target.scripts),
        )

    async def probe(self) -> Verdict:
        answer = await self._program.run(self._timeout_s, self._variables())
        if answer.hangs:
            return Verdict(False, f"not even SIGKILL ended the script {self._script}")
        said = f": {answer.last_line}" if answer.last_line else ""
        if answer.code is None:
            within = f"within {self._timeout_s:g} s"
            return Verdict(False, f"the script {self._script} did not end {within}{said}")
        if answer.code == 0:
            return Verdict(True, answer.last_line or f"the script {self._script} says yes")
        return Verdict(False, f"the script {self._script} ended with code {answer.code}{said}")
