"""The way to the daemon: a few connections to its socket, and a bound on what waits for them.

However many browsers and programs ask, the daemon never sees more than `CONNECTIONS` questions at
a time from here, and never more than `WAITING_MAX` wait; the next is refused at once ("busy")
instead of being queued. So a flood ends here, and the daemon's heartbeats do not notice it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twofold.client import DaemonAbsent
from twofold.errors import MachineError, NodeUnreachable, TwofoldError
from twofold.wire import lines

CONNECTIONS = 6
WAITING_MAX = 48
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 15.0


class Busy(MachineError):
    """Too much is asked of the daemon at the moment."""

    code = "busy"


class Link(Protocol):
    """What the rest of the web process knows of the daemon."""

    async def ask(
        self, command: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **fields: Any
    ) -> dict[str, Any]: ...

    async def ask_nodes(
        self, nodes: Sequence[str], command: str, *, timeout_s: float = 2.0, **fields: Any
    ) -> list[dict[str, Any]]: ...


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class DaemonLink:
    def __init__(self, socket: Path, connections: int = CONNECTIONS) -> None:
        self._socket = socket
        self._free: list[_Connection] = []
        self._slots = asyncio.Semaphore(connections)
        self._waiting = 0
        self._numbers = itertools.count(1)

    async def ask(
        self, command: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **fields: Any
    ) -> dict[str, Any]:
        """This node's answer; raises what the daemon refused with."""
        return await self._ask(command, fields, timeout_s)

    async def ask_nodes(
        self, nodes: Sequence[str], command: str, *, timeout_s: float = 2.0, **fields: Any
    ) -> list[dict[str, Any]]:
        """One answer for each node; one that cannot be asked, or refused, has `error` in its."""
        fields |= {"nodes": list(nodes), "timeout_s": timeout_s}
        answer = await self._ask(command, fields, timeout_s + 2.0)
        return list(answer.get("answers", []))

    async def _ask(
        self, command: str, fields: Mapping[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        number = next(self._numbers)
        request = lines.request(number, {**fields, "command": command})
        async with self._connection() as connection:
            try:
                async with asyncio.timeout(timeout_s):
                    connection.writer.write(request)
                    await connection.writer.drain()
                    line = await connection.reader.readline()
            except TimeoutError:
                raise NodeUnreachable(
                    f"twofoldd did not answer {command!r} within {timeout_s:g} s",
                    "See its log: journalctl -u twofoldd",
                ) from None
            except (OSError, ValueError):
                line = b""
            if not line:
                raise DaemonAbsent(
                    "twofoldd ended while it was asked", "See its log: journalctl -u twofoldd"
                )
            try:
                answer = lines.decode_reply(line, number)
            except TwofoldError:
                self._free.append(connection)  # refused, in a whole line: it can go on
                raise
            self._free.append(connection)
            return answer

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[_Connection]:
        """A connection of our own; it comes back only when `_ask` says that it is whole."""
        if self._waiting >= WAITING_MAX:
            raise Busy("too many questions wait for the daemon already", "Try again in a moment.")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        connection: _Connection | None = None
        try:
            connection = self._free.pop() if self._free else await self._connected()
            yield connection
        finally:
            self._slots.release()
            if connection is not None and connection not in self._free:
                connection.writer.close()

    async def _connected(self) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(
                    str(self._socket), limit=lines.LINE_BYTES_MAX
                )
        except PermissionError:
            raise DaemonAbsent(
                f"the web process may not talk to twofoldd ({self._socket})",
                "It must run as the user twofold, and that user's group must own the socket.",
            ) from None
        except (OSError, TimeoutError):
            raise DaemonAbsent(
                "twofoldd does not run on this machine", "Start it: systemctl start twofoldd"
            ) from None
        return _Connection(reader, writer)

    async def close(self) -> None:
        for connection in self._free:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()
        self._free.clear()
