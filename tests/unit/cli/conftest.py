"""A daemon that answers from a table, on a real local socket, for tests of the command line."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters.local_socket import LocalSocket
from twofold.cli.main import run
from twofold.config.places import places
from twofold.errors import CommandRefused, NodeUnreachable, TwofoldError

Object = dict[str, Any]


def module_object(node: str, state: str, readiness: str = "Ready", **more: Any) -> Object:
    return {
        "node": node,
        "module": "files",
        "kind": "mirror",
        "state": state,
        "readiness": readiness,
        "since_s": 12.1,
        "sentence": f"{node} is {state}.",
        "next": "Nothing to do.",
        "resync": None,
        "epoch": 4,
        "addresses": [{"ip": "10.77.0.100/24", "held": state in ("PRIM", "ALONE")}],
        "services": [{"name": "app", "running": state == "PRIM", "pid": 99}],
        "checkers": [{"name": "app", "ok": True}],
        "peer": {"node": "?", "heard": True, "networks": {"lan": True, "flow": True}},
        **more,
    }


class Daemon:
    """Nodes a (this one) and b. `states` is what they answer; commands are noted in `asked`."""

    def __init__(self) -> None:
        self.states = {"a": module_object("a", "PRIM"), "b": module_object("b", "SECOND")}
        self.asked: list[tuple[str, str, Object]] = []
        self.silent: set[str] = set()
        self.refusal: TwofoldError | None = None
        self.after: dict[str, Callable[[str], None]] = {}  # command -> what it changes
        self.answers: dict[str, Object] = {}
        self.entries: dict[str, list[Object]] = {"a": [], "b": []}

    def say(self, node: str, sentence: str) -> None:
        entries = self.entries[node]
        at = 1000.0 + sum(len(e) for e in self.entries.values())
        entries.append(
            {"id": len(entries) + 1, "at": at, "module": "files", "severity": "info",
             "sentence": sentence}
        )  # fmt: skip

    async def handle(self, caller: str, body: Mapping[str, Any]) -> Object:
        return self.answer("a", body)

    async def request(self, node: str, body: Mapping[str, Any], timeout_s: float) -> Object:
        if node in self.silent:
            raise NodeUnreachable(f"node {node} did not answer within 2 s", "Is it on?")
        return self.answer(node, body)

    async def serve(self, handle: object) -> None:
        raise NotImplementedError

    def answer(self, node: str, body: Mapping[str, Any]) -> Object:
        command = str(body["command"])
        self.asked.append((node, command, dict(body)))
        if body.get("module") not in (None, "files"):
            raise CommandRefused(f"there is no module {body['module']!r} here", "See the list.")
        if command == "state":
            return {"modules": [self.states[node]]}
        if command == "log":
            since = int(body.get("since", 0))
            new = [e for e in self.entries[node] if e["id"] > since]
            return {"entries": new[-int(body["limit"]) :]}
        if command in self.answers:
            return dict(self.answers[command])
        if command == "cluster_state":
            return {"cluster": "site", "members": [{"node": "a"}, {"node": "b"}]}
        if self.refusal is not None:
            raise self.refusal
        if command in self.after:
            self.after[command](node)
        return {"sentence": f"{node}: {command} begins", "decisions": []}


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    for name in ("ETC", "VAR", "RUN"):
        monkeypatch.setenv(f"TWOFOLD_{name}", str(tmp_path / name.lower()))
    daemon = Daemon()
    loop = asyncio.new_event_loop()
    server = LocalSocket(places().socket, daemon.handle)
    server.use_cluster(lambda: ("a", ("a", "b")), daemon)

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.serve(), loop)
    while not _listens(places().socket):  # the file is there a moment before somebody listens
        time.sleep(0.001)
    yield daemon
    asyncio.run_coroutine_threadsafe(_end_all(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def _listens(at: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(at)) == 0


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def twofold(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line; returns exit code, output, errors."""

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(words))
        out = capsys.readouterr()
        return code, out.out, out.err

    return command
