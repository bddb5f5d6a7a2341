"""Starting a process, and hearing of its end without waiting for it.

A `Child` watches one process through a pidfd in the event loop. It works as well for a process
that this daemon did not start (its predecessor did); only then the exit code is not known. Starting
itself happens in a thread, because a slow disk may take its time to load a program.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twofold.system import launch, output

_LAUNCH = str(Path(launch.__file__))
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Launch:
    """What to start, and how."""

    command: Sequence[str]
    variables: Mapping[str, str]
    log: Path
    user: str = ""
    directory: str = ""
    control_group: str = ""

    def environment(self) -> dict[str, str]:
        """A clean environment: nothing of the daemon's own but the language and the path."""
        kept = {k: os.environ[k] for k in ("LANG", "TZ") if k in os.environ}
        root = {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
        return {"PATH": os.environ.get("PATH", _PATH), **kept, **root, **self.variables}


def spawn(what: Launch) -> subprocess.Popen[bytes]:
    """Start it in its own session. Blocks until the launcher runs: use it in a thread."""
    log = output.open_for_append(what.log)
    options = (what.control_group, what.user, what.directory)
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH, *options, *what.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=what.environment(),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)


async def spawn_whole(what: Launch) -> subprocess.Popen[bytes]:
    """Spawn in a thread. Cancelled meanwhile, it first waits for the process to exist, so that
    nothing starts behind the back of whoever cancelled; the process is ended then."""
    spawning = asyncio.create_task(asyncio.to_thread(spawn, what))
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        await asyncio.wait((spawning,))
        if not spawning.cancelled() and spawning.exception() is None:
            end_group(spawning.result())
        raise


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process that we started and its process group; it is reaped later."""
    with contextlib.suppress(OSError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Ended:
    """How a process ended; `code` is None when another daemon was its parent."""

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "ended while it was watched by a restarted twofoldd, so its exit code is unknown"
        if self.code < 0:
            with contextlib.suppress(ValueError):
                return f"killed by {signal.Signals(-self.code).name}"
            return f"killed by signal {-self.code}"
        return f"exit code {self.code}"


@dataclass
class Child:
    """One watched process. Make it in the event loop with `watch`."""

    pid: int
    process: subprocess.Popen[bytes] | None
    pidfd: int
    ended: asyncio.Future[Ended] = field(repr=False)

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        if not self.ended.done():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, number)

    async def wait(self, bound_s: float) -> Ended | None:
        """How it ended, or None when it still runs after `bound_s`."""
        done, _ = await asyncio.wait((self.ended,), timeout=bound_s)
        return self.ended.result() if done else None

    def forget(self) -> None:
        """Stop watching; the process goes on."""
        if self.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    def _on_readable(self) -> None:
        code = self.process.poll() if self.process is not None else None
        self.forget()
        if not self.ended.done():
            self.ended.set_result(Ended(code))


def watch(pid: int, process: subprocess.Popen[bytes] | None = None) -> Child:
    """Watch a process; one that is gone already counts as ended at once."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Ended] = loop.create_future()
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        ended.set_result(Ended(process.poll() if process is not None else None))
        return Child(pid, process, -1, ended)
    child = Child(pid, process, pidfd, ended)
    loop.add_reader(pidfd, child._on_readable)  # pyright: ignore[reportPrivateUsage]
    return child
