"""The machine that is installed on, as a port: run a command, read and write files, wait.

Everything that the steps do to a machine goes through it, so a test has one in memory and
`--dry-run` needs none.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twofold.errors import MachineError

COMMAND_BOUND_S = 60.0


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


class Machine(Protocol):
    def run(
        self,
        words: Sequence[str],
        *,
        bound_s: float = COMMAND_BOUND_S,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Ran:
        """With `check`, a failure raises `MachineError` with the command's last words."""
        ...

    def read(self, path: str) -> str | None:
        """None when there is no such file."""
        ...

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Whole or not at all; directories on the way are made."""
        ...

    def remove(self, path: str) -> None: ...

    def exists(self, path: str) -> bool: ...

    def owner(self, path: str) -> tuple[int, int] | None: ...

    def user(self, name: str) -> tuple[int, int] | None:
        """Its numbers of user and group."""
        ...

    def listens(self, host: str, port: int) -> bool: ...

    def now_s(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class ThisMachine:
    """The machine we run on."""

    def run(
        self,
        words: Sequence[str],
        *,
        bound_s: float = COMMAND_BOUND_S,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Ran:
        try:
            done = subprocess.run(
                list(words),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=bound_s,
                check=False,
                env={**os.environ, **(environment or {})},
            )
        except FileNotFoundError:
            ran = Ran(127, "", f"{words[0]} is not installed")
        except subprocess.TimeoutExpired:
            ran = Ran(124, "", f"did not end within {bound_s:g} s")
        else:
            ran = Ran(done.returncode, done.stdout, done.stderr)
        if check and ran.code != 0:
            raise MachineError(f"`{' '.join(words[:4])}` failed: {ran.last}")
        return ran

    def read(self, path: str) -> str | None:
        try:
            return Path(path).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.new")
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as out:
            os.fchmod(out.fileno(), mode)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(file)

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def owner(self, path: str) -> tuple[int, int] | None:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            return None
        return status.st_uid, status.st_gid

    def user(self, name: str) -> tuple[int, int] | None:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return entry.pw_uid, entry.pw_gid

    def listens(self, host: str, port: int) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 3.0).close()
            return True
        return False

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
