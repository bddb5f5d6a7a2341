"""Two nodes' configuration commands in one process, each the other's only peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters import facts
from twofold.config.load import Module, load_module, module_names, parse_cluster
from twofold.config.question import Facts
from twofold.config.render import cluster_toml
from twofold.daemon.configuration import Configuration
from twofold.daemon.founding import found
from twofold.daemon.membership import Surroundings, configured
from twofold.errors import NodeUnreachable, TwofoldError
from twofold.wire import lines
from twofold.wire.files import pack

TEXT = """
[replication]
directories = ["/srv/files"]
[[address]]
ip = "${address}"
[variables]
address = { help = "the address" }
"""
SET = {"address": "10.77.0.100/24"}


class Node:
    """One node: its files, its commands, and the other node as its only peer."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.etc = root / name
        self.up = True
        self.states: dict[str, str] = {}
        self.reloads = 0
        self.directories = {"/srv/files": "/srv/files", "/srv/two": "/srv/two"}
        self.other: Node | None = None
        self.fails_to_write = False
        self.dies_at: str | None = None  # the peer command before which the other one dies
        self.var = root / f"{name}-var"
        self.loaded: dict[str, Module] = {}
        self.commands = Configuration(self._around())

    def _around(self) -> Surroundings:
        return Surroundings(
            self.etc,
            self.var,
            (self.etc,),
            control=lambda: self,
            state_of=lambda n: self.states.get(n, "STOP"),
            reload=self.reload,
            running=lambda n: self.loaded.get(n),
        )

    async def reload(self) -> None:
        self.reloads += 1
        self.loaded = {n: load_module(self.etc, n) for n in module_names(self.etc)}

    async def request(
        self, node: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """The control channel to the other node."""
        assert self.other is not None
        assert node == self.other.name
        if self.dies_at == body["command"]:
            self.other.up = False
        if not self.other.up:
            raise NodeUnreachable(f"{node} is silent")
        if self.other.fails_to_write and body["command"] == "peer_commit":
            raise TwofoldError("the disk is full")
        # Through the frame, as over the wire: it has keys of its own.
        number, asked = lines.decode_request(lines.request(7, body))
        answer = await self.other.commands.handle(self.name, asked)
        return lines.decode_reply(lines.reply(number, answer), number)

    async def serve(
        self, handle: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    ) -> None:
        raise NotImplementedError

    async def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        return await self.commands.handle("root", {"command": command, **fields})

    async def settle(self) -> None:
        """A new daemon begins: only what is on disk counts."""
        self.commands = Configuration(self._around())
        await self.commands.changes.settle(configured(self.etc))

    async def add(self, name: str = "files", text: str = TEXT, **fields: Any) -> dict[str, Any]:
        files = pack({"module.toml": (0o644, text.encode())})
        return await self.ask("module_add", module=name, files=files, **{"set": SET, **fields})


@pytest.fixture(name="nodes")
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Node, Node]:
    a, b = Node(tmp_path, "a"), Node(tmp_path, "b")
    a.other, b.other = b, a
    node = found(a.etc, "a", {"lan": "127.0.0.1"}, "site", None)
    text = cluster_toml(node.cluster) + '[[node]]\nname = "b"\naddresses = { lan = "127.0.0.2" }\n'
    parse_cluster(text)
    b.etc.mkdir()
    (b.etc / "node.toml").write_text('name = "b"\n')
    for each in (a, b):
        (each.etc / "cluster.toml").write_text(text)

    def gathered(module: Module, places: tuple[Path, ...]) -> Facts:
        there = next(n for n in (a, b) if n.etc in places)
        networks = {"eth0": ("10.77.0.1/24",)}
        none: frozenset[str] = frozenset()
        return Facts(there.directories, networks, none, none, ("/etc/twofold",), False)

    monkeypatch.setattr(facts, "gather", gathered)
    return a, b
