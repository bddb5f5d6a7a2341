"""The local socket, `/run/twofold/twofoldd.sock`: what the CLI (and later the API) talks to.

Who may connect is the file's business: mode 0660, root and the group `twofold` where it exists. A
request with `nodes` is asked of each of those daemons at the same time, over the control channel,
and the answers come back in the cluster's order; a node that does not answer is an answer too.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from twofold.errors import CommandRefused, MachineError, NodeUnreachable, TwofoldError
from twofold.ports import ControlPort
from twofold.wire import lines, local

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Members = Callable[[], tuple[str, Sequence[str]]]
Homes = Callable[[str], Sequence[str]]


class Speaker(Protocol):
    @property
    def name(self) -> str: ...


class Gate(Protocol):
    """Says whether this caller may, and is told what came of it."""

    def admit(self, caller: str, body: dict[str, Any]) -> Speaker: ...

    def note(self, speaker: Any, body: Mapping[str, Any], error: Exception | None) -> None: ...


GROUP = "twofold"
IDLE_TIMEOUT_S = 3600.0
FORWARD_TIMEOUT_S = 10.0
CLIENTS_MAX = 64

log = logging.getLogger("twofold.local")


class LocalSocket:
    """Answers with `handle`; `members()` is this node's name and all names of the cluster."""

    def __init__(
        self,
        path: Path,
        handle: Handler,
        members: Members | None = None,
        control: ControlPort | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._path = path
        self._gate = gate
        self._handle = handle
        self._members = members
        self._control = control
        self._homes: Homes | None = None
        self._clients = 0

    def use_cluster(
        self, members: Members, control: ControlPort, homes: Homes | None = None
    ) -> None:
        """Called when a node that started unconfigured has become part of a cluster.

        `homes(module)` is where a module lives: what "*" means in a command about one.
        """
        self._members, self._control, self._homes = members, control, homes

    def leave_cluster(self) -> None:
        """Called when this node belongs to no cluster (any more)."""
        self._members = self._control = None

    async def serve(self) -> None:
        """Listen until cancelled."""
        server = await asyncio.start_unix_server(
            self._on_client,
            sock=listening_socket(self._path),
            limit=lines.LINE_BYTES_MAX,
            start_serving=False,  # a cancelled begin would leave a listener behind
        )
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > CLIENTS_MAX:
                busy = MachineError("the daemon has too many clients now", "Try again.")
                writer.write(lines.refusal(0, busy))
                return
            caller = caller_name(writer.get_extra_info("socket"))
            while True:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    line = await reader.readline()
                if not line:
                    return
                writer.write(await self._reply(caller, line))
                async with asyncio.timeout(FORWARD_TIMEOUT_S):
                    await writer.drain()
        except ValueError:  # the line is longer than the limit
            writer.write(lines.refusal(0, MachineError("a request line is too long")))
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._clients -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _reply(self, caller: str, line: bytes) -> bytes:
        number = 0
        try:
            number, body = lines.decode_request(line)
            return lines.reply(number, await self._admitted(caller, body))
        except TwofoldError as e:
            return lines.refusal(number, e)
        except Exception as e:  # a bug in one command must not end the others
            log.exception("command %r failed", line[:200])
            return lines.refusal(number, e)

    async def _admitted(self, caller: str, body: dict[str, Any]) -> Mapping[str, Any]:
        if self._gate is None:
            return await self._answer(caller, body)
        speaker, asked = self._gate.admit(caller, body), dict(body)
        try:
            answer = await self._answer(speaker.name, body)
        except Exception as e:
            self._gate.note(speaker, asked, e)
            raise
        self._gate.note(speaker, asked, first_refusal(answer))
        return answer

    async def _answer(self, caller: str, body: dict[str, Any]) -> Mapping[str, Any]:
        if str(body["command"]).startswith(local.BETWEEN_NODES):
            # Here, and not at the other end: there it would seem to come from this node itself.
            raise CommandRefused(f"{body['command']} is a command between nodes")
        body.pop("on_behalf_of", None)  # only a daemon may say this
        if body.get("nodes") is None:
            body.pop("nodes", None)
            return await self._handle(caller, body)
        if self._members is None:
            raise MachineError(
                "this node is not part of a cluster yet",
                "Make one with: twofold cluster init --address THIS-NODES-ADDRESS",
            )
        here, known = self._members()
        if body.get("module") is not None and body["nodes"] == [local.ALL_NODES] and self._homes:
            known = self._homes(str(body["module"]))
        nodes = local.target_nodes(body, known) or []
        del body["nodes"]
        answers = await asyncio.gather(*(self._ask(n, here, caller, body) for n in nodes))
        return {"answers": answers}

    async def _ask(
        self, node: str, here: str, caller: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            if node == here:
                return local.answer_of(node, await self._handle(caller, dict(body)))
            assert self._control is not None
            asked = {**body, "on_behalf_of": caller}
            timeout_s = float(body.get("timeout_s", FORWARD_TIMEOUT_S))
            return local.answer_of(node, await self._control.request(node, asked, timeout_s))
        except NodeUnreachable as e:
            return local.failure_of(node, e, reachable=False)
        except TwofoldError as e:
            return local.failure_of(node, e, reachable=True)
        except Exception as e:
            log.exception("command %r failed", body.get("command"))
            return {"node": node, "reachable": True, "error": lines.error_object(e)}


def first_refusal(answer: Mapping[str, Any]) -> TwofoldError | None:
    """What one of the nodes asked refused with; None when none did."""
    for each in answer.get("answers", ()):
        if "error" in each:
            return lines.error_from(each["error"])
    return None


def listening_socket(path: Path) -> socket.socket:
    """Bound with the right mode from the first moment; a dead daemon's socket is replaced."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if _answers(path):
        raise MachineError(f"another twofoldd listens on {path}", "Stop that one first.")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
        path.chmod(0o660)
    listener.setblocking(False)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def caller_name(client: socket.socket) -> str:
    """ "root" or the user's name, from the kernel; for the audit."""
    pid_uid_gid = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(pid_uid_gid[4:8], sys.byteorder)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
