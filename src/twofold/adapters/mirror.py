"""The engine process of one module: started, found again, asked, listened to.

It runs in its own session and outlives the daemon. One connection asks, another subscribes; the end
of the subscription is how the death of the engine is noticed. Every command has a bound, and an
engine that does not even say how it is while it is waited for has hung: it is given up earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twofold.errors import MirrorFailed
from twofold.wire import mirror as wire

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
ABORT_TIMEOUT_S = 5.0  # brings nothing out any more
_BOUNDS_S = {"status": 5.0, "reconcile": 5.0, "continue_alone": 10.0, "stop": STOP_TIMEOUT_S}
_BOUND_S = 30.0  # the engine itself waits up to 20 s for a hand-over
_PROBE_EVERY_S = 2.0
SILENT_MAX_S = 8.0  # its status costs the engine no disk and no network
_POLL_S = 0.05

Told = Callable[[Mapping[str, Any] | None], None]


class MirrorProcess:
    """Implements `twofold.ports.MirrorPort`."""

    def __init__(
        self, command: Sequence[str], run_dir: Path, config: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._command = tuple(command)
        self._run_dir = run_dir
        self._config = config
        self._socket = run_dir / wire.SOCKET_NAME
        self._numbers = itertools.count(1)
        self._told: Told = lambda _s: None
        self._listening: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._pid: int | None = None

    def on_status(self, told: Told) -> None:
        self._told = told

    async def find(self) -> Mapping[str, Any] | None:
        """The status of the engine that runs, or None; from then on its news is told."""
        with contextlib.suppress(MirrorFailed):
            await self._listen()
            return (await self.command("status"))["status"]
        return None

    async def ensure_running(self) -> None:
        if self._listening is not None and not self._listening.done():
            return
        if await self.find() is None:
            await self._start()
        if self._listening is None or self._listening.done():
            await self._listen()

    async def _start(self) -> None:
        self._run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        file = self._run_dir / wire.CONFIG_NAME
        file.write_bytes(wire.config_file(self._config()))
        self._socket.unlink(missing_ok=True)
        log = self._run_dir / wire.LOG_NAME
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                "--config",
                str(file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise MirrorFailed(_last_words(log))
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise MirrorFailed(
                f"the engine did not answer within {START_TIMEOUT_S:g} s. {_last_words(log)}"
            ) from None

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        writer.close()
        return True

    async def command(self, name: str, **fields: Any) -> Mapping[str, Any]:
        bound_s = ABORT_TIMEOUT_S if fields.get("abort") else _BOUNDS_S.get(name, _BOUND_S)
        asked = asyncio.create_task(self._ask(name, fields))
        tasks = [asked]
        if name != "stop":  # who is about to end accepts nobody any more
            tasks.append(asyncio.create_task(self._probe()))
        try:
            async with asyncio.timeout(bound_s):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                reply = await (asked if asked.done() else tasks[-1])
        except TimeoutError:
            raise MirrorFailed(f"the engine did not end {name!r} within {bound_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as e:
            raise MirrorFailed(f"the engine is not running ({e})") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return wire.checked(reply)

    async def _probe(self) -> Mapping[str, Any]:
        """Never ends while the engine says how it is, which waits for no command of another."""
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            try:
                async with asyncio.timeout(SILENT_MAX_S):
                    await self._ask("status", {})
            except TimeoutError:
                raise MirrorFailed(
                    f"the engine hangs: it has not said how it is for {SILENT_MAX_S:g} s"
                ) from None

    async def _ask(self, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=wire.LINE_BYTES_MAX)
        try:
            number = next(self._numbers)
            writer.write(wire.request(number, name, fields))
            await writer.drain()
            while True:
                answer = wire.message(await reader.readuntil(b"\n"))
                if answer.get("id") == number:
                    return answer
        finally:
            writer.close()

    async def stop(self, abort: bool) -> None:
        """The engine has ended when this returns; it is no error when it was not running."""
        if not await self._answers():
            return
        with contextlib.suppress(MirrorFailed):
            await self._listen()
        try:
            await self.command("stop", abort=abort)
            await self._ended(STOP_TIMEOUT_S)
        except MirrorFailed:
            if not abort or self._pid is None:
                raise
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            await self._ended(5.0)

    async def _ended(self, timeout_s: float) -> None:
        """The end of the subscription is the end of the process."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._listening is not None:
                    await asyncio.wait([self._listening])
                if self._process is not None:
                    await self._process.wait()
        except TimeoutError:
            raise MirrorFailed(f"the engine has not ended within {timeout_s:g} s") from None

    async def close(self) -> None:
        """Listen no more; the engine runs on."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    async def _listen(self) -> None:
        if self._listening is not None and not self._listening.done():
            return
        try:
            reader, writer = await asyncio.open_unix_connection(
                self._socket, limit=wire.LINE_BYTES_MAX
            )
        except OSError as e:
            raise MirrorFailed(f"the engine is not running ({e})") from None
        writer.write(wire.request(next(self._numbers), "subscribe", {}))
        self._listening = asyncio.create_task(self._follow(reader, writer))

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                news = wire.message(await reader.readuntil(b"\n"))
                status = news.get("status")
                if status is not None:
                    self._pid = status.get("pid", self._pid)
                    self._told(status)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, MirrorFailed):
            self._pid = None
            self._told(None)
        finally:
            writer.close()


def _last_words(log: Path) -> str:
    """The last line the engine wrote: it says what was wrong in one sentence."""
    with contextlib.suppress(OSError):
        with log.open("rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 4096))
            lines = [line.strip() for line in f.read().decode("utf-8", "replace").splitlines()]
        words = [line for line in lines if line]
        if words:
            return words[-1]
    return f"the engine ended without a word; its log is {log}"
