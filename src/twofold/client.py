"""A synchronous client of the local socket: one connection, one question at a time.

Used by the CLI, the lab and tests. Every question has a bound. The daemon's refusals come back as
exceptions of `twofold.errors`, as if they had been made here.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from twofold.config.places import Places, places
from twofold.errors import MachineError, NodeUnreachable, OperatorError
from twofold.wire import lines

DEFAULT_TIMEOUT_S = 15.0


class DaemonAbsent(MachineError):
    """twofoldd does not run on this machine, or this user may not talk to it."""

    code = "daemon_absent"


class Client:
    """`with Client() as client: client.ask("state", module="files")`."""

    def __init__(self, at: Places | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._places = at or places()
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._socket: socket.socket | None = None
        self._received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def ask(self, command: str, *, timeout_s: float | None = None, **fields: Any) -> dict[str, Any]:
        """This node's answer; raises what the daemon refused with."""
        return self._ask(command, fields, timeout_s or self._timeout_s)

    def _ask(self, command: str, fields: dict[str, Any], wait_s: float) -> dict[str, Any]:
        number = next(self._numbers)
        body = {"command": command, **fields}
        connection = self._connection()
        try:
            connection.settimeout(wait_s)
            connection.sendall(lines.request(number, body))
            return lines.decode_reply(self._line(connection), number)
        except TimeoutError:
            self.close()
            raise NodeUnreachable(
                f"twofoldd did not answer {command!r} within {wait_s:g} s",
                "See its log: journalctl -u twofoldd",
            ) from None
        except OSError:
            self.close()
            raise DaemonAbsent(
                "twofoldd ended while it was asked", "See its log: journalctl -u twofoldd"
            ) from None

    def ask_nodes(
        self, nodes: Sequence[str], command: str, *, timeout_s: float | None = None, **fields: Any
    ) -> list[dict[str, Any]]:
        """One answer for each node; a node that cannot be asked, or refused, has `error` in its."""
        wait_s = timeout_s or self._timeout_s
        # The daemon gives up on a silent node (`timeout_s`) before we give up on the daemon.
        fields |= {"nodes": list(nodes), "timeout_s": wait_s}
        return list(self._ask(command, fields, wait_s + 2.0).get("answers", []))

    def _connection(self) -> socket.socket:
        if self._socket is None:
            self._socket = _connected(self._places, self._timeout_s)
        return self._socket

    def _line(self, connection: socket.socket) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > lines.LINE_BYTES_MAX:
                raise OperatorError("the daemon's answer is too long")
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionError
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line + b"\n"


def _connected(at: Places, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(at.socket))
        return connection
    except PermissionError:
        reason = DaemonAbsent(
            f"you may not talk to twofoldd ({at.socket} is for root and the group twofold)",
            "Use sudo, or add yourself to that group.",
        )
    except OSError:
        reason = _absence(at)
    with contextlib.suppress(OSError):
        connection.close()
    raise reason


def _absence(at: Places) -> DaemonAbsent:
    if not (at.etc / "cluster.toml").exists():
        return DaemonAbsent(
            "this machine is not part of a cluster yet, and twofoldd does not run",
            "Make a cluster with: twofold cluster init --address ADDRESS, "
            "or join one: twofold cluster join",
        )
    return DaemonAbsent(
        "twofoldd does not run on this machine", "Start it: systemctl start twofoldd"
    )
