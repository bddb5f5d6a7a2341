"""A site for tests of the web process: two nodes' answers behind the real gate, and real users.

`Daemon` stands where the socket is. What the web process asks goes through `daemon.gate` as the
user `twofold`, so the second check of a role is tested with the first one; `done` lists what was
changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from twofold import passwords
from twofold.config.users import Users, with_token, with_user
from twofold.daemon.audit import Audit
from twofold.daemon.configuration import Configuration
from twofold.daemon.gate import Gate
from twofold.daemon.users import UserCommands, write_users
from twofold.errors import CommandRefused, NodeUnreachable, TwofoldError
from twofold.web.app import make_app, make_services
from twofold.web.services import Services
from twofold.wire import lines, roles
from twofold.wire.files import Files, pack

Object = dict[str, Any]
PASSWORD = "correct horse battery"
ROLES = ("monitor", "control", "admin")
HASH = passwords.hashed(PASSWORD)


def module_object(node: str, state: str, **more: Any) -> Object:
    other = "b" if node == "a" else "a"
    return {
        "node": node,
        "module": "files",
        "kind": "mirror",
        "state": state,
        "readiness": "Ready",
        "since_s": 90.0,
        "sentence": f"Serving; {other} has everything." if state == "PRIM" else "Current copy.",
        "next": "Nothing to do.",
        "up_to_date": True,
        "resync": None,
        "epoch": 4,
        "generation": "00ff",
        "addresses": [{"ip": "10.77.0.100/24", "held": state in ("PRIM", "ALONE")}],
        "services": [{"name": "app", "running": state == "PRIM", "pid": 99}],
        "checkers": [{"name": "app", "ok": True, "text": "answers"}],
        "peer": {"node": other, "heard": True, "networks": {"lan": True, "flow": True}},
        "traffic": {"operations_sent": 10, "bytes_sent": 4096, "pending_operations": 0},
        "failovers": 1,
        **more,
    }


# Both answers of the command in one: the names, and any one of them.
SNAPSHOT: Object = {
    "items": ["system/load.txt", "config/cluster.toml"],
    "text": "a line\n", "removed": ["line 1: a token"], "cut": False,
}  # fmt: skip


class Daemon:
    """Nodes a (here) and b, as a `Link`."""

    def __init__(self, etc: Path, var: Path) -> None:
        self.states = {"a": module_object("a", "PRIM"), "b": module_object("b", "SECOND")}
        self.silent: set[str] = set()
        self.done: list[tuple[str, str, Object]] = []  # node, command, body
        self.asked = 0
        self.entries: dict[str, list[Object]] = {"a": [], "b": []}
        self.audit = Audit(var / "audit.sqlite")
        self.configuration: Configuration | None = None  # a real one, where a test gives it
        self._users = UserCommands(etc, self._peer)
        self._gate = Gate(self._users.current, self.audit)

    async def _peer(self, node: object, name: str, body: Mapping[str, Any]) -> Object:
        return {}

    async def ask(self, command: str, *, timeout_s: float = 1.0, **fields: Any) -> Object:
        # Over the wire and back, as with a socket.
        _, body = lines.decode_request(lines.request(1, {**fields, "command": command}))
        self.asked += 1
        speaker = self._gate.admit(roles.WEB_USER, body)
        try:
            answer = await self._of("a", body)
        except TwofoldError as e:
            self._gate.note(speaker, body, e)
            raise
        self._gate.note(speaker, body, None)
        return answer

    async def ask_nodes(
        self, nodes: Sequence[str], command: str, *, timeout_s: float = 2.0, **fields: Any
    ) -> list[Object]:
        body = {**fields, "command": command, "nodes": list(nodes)}
        _, body = lines.decode_request(lines.request(1, body))
        self._gate.note(self._gate.admit(roles.WEB_USER, body), body, None)
        answers: list[Object] = []
        for node in nodes:
            self.asked += 1
            try:
                answers.append({**await self._of(node, body), "node": node, "reachable": True})
            except TwofoldError as e:
                reachable = not isinstance(e, NodeUnreachable)
                error = lines.error_object(e)
                answers.append({"node": node, "reachable": reachable, "error": error})
        return answers

    async def _of(self, node: str, body: Object) -> Object:
        if node in self.silent:
            raise NodeUnreachable(f"node {node} did not answer within 2 s", "Is it on?")
        command = str(body["command"])
        if not roles.only_looks(body):
            self.done.append((node, command, body))
        if self.configuration is not None and self.configuration.knows(command):
            return await self.configuration.handle("root", body)
        if command in self._users.local:
            return await self._users.local[command](body)
        if body.get("module") not in (None, "files"):
            raise CommandRefused(f"there is no module {body['module']!r} here", "See the list.")
        return await self._answer(node, command)

    async def _answer(self, node: str, command: str) -> Object:
        state = self.states[node]
        table: dict[str, Object] = {
            "state": {"modules": [state]},
            "cluster_state": cluster_state(node),
            "log": {"entries": self.entries[node]},
            "why": {"decisions": []},
            "config_drift": {"drift": [], "silent": []},
            "rescue_list": {"rescues": [{"id": "1", "bytes": 5}]},
            "module_show": {
                "module": "files",
                "files": {"module.toml": "x"},
                "directory": "/etc",
                "digest": "1",
            },
            "snapshot": SNAPSHOT,
            "audit": {"records": await self.audit.read(100)},
        }
        table |= configuration_answers(node)
        counted = {"names": 1, "files": 2, "bytes": 3, "complete": True}
        table["estimate"] = {"estimate": {"looks_at": "part", "why": None, **counted}}
        table["resync"] = {"module": "files", "node": node, "begins": "now"}
        fallback = {"sentence": "Accepted.", "state": state["state"], "verify": None}
        return table.get(command, fallback)


def configuration_answers(node: str) -> dict[str, Object]:
    files: Files = {"module.toml": (0o644, b"x"), "scripts/start": (0o755, b"\xff")}
    looked: Object = {
        "target": "files", "nodes": ["a", "b"], "problems": ["module.toml line 1, column 2: no"],
        "effects": [{"node": "a", "key": "k", "before": 1, "after": None, "when": "now",
                     "text": "k is gone"}],
        "checked": ["files"], "dry_run": True,
    }  # fmt: skip
    applied: Object = {**looked, "problems": [], "dry_run": False, "version": 3, "digest": "00",
               "later": []}  # fmt: skip
    version: Object = {
        "number": 1, "at": 1.0, "by": "root", "why": "", "node": node, "digest": "00",
        "removed": False, "current": True,
    }  # fmt: skip
    difference = {"file": "module.toml", "what": "changed", "lines": "-a\n+b\n"}
    return {
        "config_show": {"target": "files", "digest": "00", "packed": pack(files), "files": {}},
        "config_check": looked,
        "config_apply": applied,
        "config_rollback": {**applied, "back_to": 1},
        "module_add": applied,
        "module_remove": applied,
        "config_history": {"target": "files", "edited": False, "versions": [version]},
        "config_diff": {"target": "files", "from": "1", "to": "now", "differences": [difference]},
        "cluster_arbitration": {"ping": [], "timeout": "1s", "witnesses": [{"name": "w"}]},
    }


def cluster_state(node: str) -> Object:
    members = [
        {"node": "a", "addresses": {"lan": "10.77.0.1"}},
        {"node": "b", "addresses": {"lan": "10.77.0.2"}},
    ]
    return {
        "node": node, "version": "0.1.0", "cluster": "site", "cluster_id": "1",
        "networks": ["lan"], "members": members, "modules": ["files"], "certificate_days": 700.0,
        "digests": {"cluster.toml": "1"},
    }  # fmt: skip


@dataclass
class Site:
    daemon: Daemon
    services: Services
    app: FastAPI
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def client(self, role: str | None = None) -> httpx.AsyncClient:
        """A program with a token of that role; nobody in particular without one."""
        headers = {"authorization": f"Bearer {self.tokens[role]}"} if role else {}
        transport = httpx.ASGITransport(app=self.app, client=("10.9.9.9", 5000))
        return httpx.AsyncClient(transport=transport, base_url="https://node", headers=headers)


def _is_seen(services: Services) -> bool:
    nodes = services.watch.snapshot.nodes
    return bool(nodes) and all(n.reachable for n in nodes)


@asynccontextmanager
async def site(root: Path) -> AsyncGenerator[Site]:
    """Users named as their roles, each with PASSWORD and a token of the full role."""
    etc, var = root / "etc", root / "var"
    etc.mkdir(exist_ok=True)
    users, tokens = Users(), dict[str, str]()
    for role in reversed(ROLES):
        users = with_user(users, role, role, HASH, 1.0)
        new = passwords.new_token()
        made: Object = {"id": new.id, "label": "", "digest": new.digest, "role": role}
        users, tokens[role] = with_token(users, role, made, 1.0), new.text
    write_users(etc, users)
    daemon = Daemon(etc, var)
    services = make_services(etc, daemon)
    looking = asyncio.create_task(services.watch.run())
    try:
        async with asyncio.timeout(5.0):
            while not _is_seen(services):
                await asyncio.sleep(0.01)
        yield Site(daemon, services, make_app(services), tokens)
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
