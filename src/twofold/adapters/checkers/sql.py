"""Does a database answer a query? Asked by the database's own client program.

The client is what its administrators use, so it knows every way of logging in that the server has.
The password comes from a file that nobody else may read, and reaches the client in its environment,
never on a command line.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from twofold.adapters.checkers import sqlite_query
from twofold.adapters.checkers.program import Answer, Program
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict

_PASSWORD = {"mariadb": "MYSQL_PWD", "postgresql": "PGPASSWORD"}


def command_of(checker: Checker) -> tuple[str, ...]:
    """The client's command line."""
    match checker.engine:
        case "mariadb":
            return _mariadb(checker)
        case "postgresql":
            return _postgresql(checker)
        case _:
            program = (sys.executable, "-I", "-S", sqlite_query.__file__)
            return (*program, checker.database or "", checker.query, f"{checker.timeout_s:g}")


def _mariadb(checker: Checker) -> tuple[str, ...]:
    words = ["mariadb", "--batch", "--skip-column-names"]
    words.append(f"--connect-timeout={max(1, int(checker.timeout_s))}")
    if checker.host is not None:
        words.append(f"--{'socket' if checker.host.startswith('/') else 'host'}={checker.host}")
    if checker.port is not None:
        words += [f"--port={checker.port}", "--protocol=tcp"]
    words += [f"--user={checker.user}"] if checker.user else []
    words += [f"--database={checker.database}"] if checker.database else []
    return (*words, f"--execute={checker.query}")


def _postgresql(checker: Checker) -> tuple[str, ...]:
    words = ["psql", "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--quiet"]
    words += [f"--host={checker.host}"] if checker.host else []
    words += [f"--port={checker.port}"] if checker.port else []
    words += [f"--username={checker.user}"] if checker.user else []
    words.append(f"--dbname={checker.database or 'postgres'}")
    return (*words, "--set=ON_ERROR_STOP=1", f"--command={checker.query}")


class SqlChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._checker = checker
        variables = {"PGCONNECT_TIMEOUT": str(max(2, int(checker.timeout_s)))}
        self._program = Program(command_of(checker), variables, checker.run_as or "")

    async def probe(self) -> Verdict:
        checker, secret = self._checker, dict[str, str]()
        if checker.password_file is not None:
            try:
                secret[_PASSWORD[str(checker.engine)]] = read_password(Path(checker.password_file))
            except (OSError, ValueError) as error:
                return Verdict(False, f"the password in {checker.password_file}: {error}")
        answer = await self._program.run(checker.timeout_s, secret)
        what = f"{checker.engine}"
        if answer.hangs or answer.code is None:
            return Verdict(False, f"{what} did not answer within {checker.timeout_s:g} s")
        if answer.code != 0:
            return Verdict(False, f"{what} refused the query: {complaint(answer)}")
        said = answer.first_line
        if checker.expect is not None and said != checker.expect:
            return Verdict(False, f"{what} answered {said!r}, expected was {checker.expect!r}")
        return Verdict(True, f"{what} answered {said[:60]!r}")


def complaint(answer: Answer) -> str:
    """mariadb quotes the query first, psql goes on with advice: what counts says "error"."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower()]
    return (told or lines[-1:] or [f"exit code {answer.code}"])[0][:300]


def read_password(file: Path) -> str:
    """Without the line's end. A file that others may read is refused: the password is not safe."""
    mode = file.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"others may read the file; run: chmod 600 {file}")
    return file.read_text().rstrip("\n")
