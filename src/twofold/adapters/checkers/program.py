"""Running a small program for a probe: bounded whatever it does, and never in the daemon's way.

A program may hang in the kernel (a dead mount), where SIGKILL does not reach it. It is then left
alone, and its checker starts no second one until it has ended: at most one such process for each
checker, and no thread at all waits for it. Starting takes a thread of a pool of our own, so that
slow starts of many probes cannot hold up what the daemon itself does in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from twofold.errors import ProbeNotMade
from twofold.system import child, launch
from twofold.system.child import Child, Launch

KILL_GRACE_S = 0.3
KEPT_BYTES = 4096
_POOL = ThreadPoolExecutor(4, "probe")
_LAUNCH = str(Path(launch.__file__))


@dataclass(frozen=True)
class Answer:
    """How the program ended. `code` is None when its time was over."""

    code: int | None
    text: str  # the end of what it printed
    hangs: bool = False  # SIGKILL did not end it in time: in the kernel, or the machine is too busy

    @property
    def first_line(self) -> str:
        return self.text.strip().partition("\n")[0].strip()

    @property
    def last_line(self) -> str:
        return self.text.strip().rpartition("\n")[2].strip()[:300]


@dataclass
class Program:
    """One checker's program; `plain` ones are of the system and need no launcher."""

    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    user: str = ""
    directory: str = ""
    plain: bool = False
    _stuck: Child | None = None

    async def run(self, bound_s: float, more: Mapping[str, str] | None = None) -> Answer:
        """Raises `ProbeNotMade` when this machine did not come round to starting it."""
        if self._stuck is not None and not self._stuck.ended.done():
            return Answer(None, "", hangs=True)
        self._stuck = None
        loop = asyncio.get_running_loop()
        end_s = loop.time() + bound_s
        reading, writing = os.pipe()
        collected = _Tail()
        try:
            process = await self._spawn(writing, bound_s, more or {})
            transport, _ = await loop.connect_read_pipe(lambda: collected, os.fdopen(reading, "rb"))
            reading = -1
        finally:
            for descriptor in (reading, writing):
                if descriptor >= 0:
                    os.close(descriptor)
        watched = child.watch(process.pid, process)
        try:
            ended = await watched.wait(max(0.0, end_s - loop.time()))
            if ended is None:
                ended_late = await self._kill(process, watched)
                return Answer(None, collected.text(), hangs=not ended_late)
            await collected.rest(KILL_GRACE_S)
            return Answer(ended.code, collected.text())
        finally:
            if self._stuck is None:
                child.end_group(process)
                watched.forget()
            transport.close()

    async def _spawn(
        self, output: int, bound_s: float, more: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        what = Launch(self.command, {**self.variables, **more}, Path(os.devnull))
        options = ("", self.user, self.directory)
        launcher = () if self.plain else (sys.executable, "-I", "-S", _LAUNCH, *options)
        command = [*launcher, *self.command]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=what.environment(),
                cwd="/",
                start_new_session=True,
            )

        starting = asyncio.get_running_loop().run_in_executor(_POOL, start)
        try:
            async with asyncio.timeout(bound_s):
                return await asyncio.shield(starting)
        except TimeoutError:
            starting.add_done_callback(_end_late)
            raise ProbeNotMade(
                f"this machine did not start the probe within {bound_s:g} s"
            ) from None
        except asyncio.CancelledError:
            starting.add_done_callback(_end_late)
            raise
        except OSError as error:
            raise ProbeNotMade(f"{self.command[0]}: {error.strerror}") from None

    async def _kill(self, process: subprocess.Popen[bytes], watched: Child) -> bool:
        """Whether it is gone; else it is remembered until it is."""
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        if await watched.wait(KILL_GRACE_S) is not None:
            return True
        self._stuck = watched
        return False


def _end_late(starting: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        process = starting.result()
        child.end_group(process)
        child.watch(process.pid, process)  # which reaps it


class _Tail(asyncio.Protocol):
    """Keeps the end of what comes; a program that prints for ever fills nothing."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 2 * KEPT_BYTES:
            del self._kept[:-KEPT_BYTES]

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    async def rest(self, bound_s: float) -> None:
        """What was printed before the end; something it left running may hold the pipe open."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                await self._closed.wait()

    def text(self) -> str:
        return bytes(self._kept[-KEPT_BYTES:]).decode(errors="replace")
