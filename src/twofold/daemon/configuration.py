"""Commands about configuration: modules and membership, all or nothing on all nodes.

An apply has three steps, each on every node before the next begins: *check* (the text, against the
node's own directories, interfaces and users), *write* (whole directories, the old one is kept
aside), *reload*. A node that cannot be reached, or refuses, ends it with nothing changed; a write
that fails after another succeeded is undone there. The other nodes are asked with the commands
named `peer_*`, which only a node may send.

The composition root gives this object its surroundings and routes to `handle` what `knows` says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twofold.adapters import facts, pki
from twofold.config import render
from twofold.config.check import check_module, next_port
from twofold.config.load import (
    Module,
    NodeConfig,
    check_module_name,
    digest_of,
    load_module,
    module_files,
    module_names,
    nearest,
    parse_module,
    parse_toml,
)
from twofold.config.problem import Problem, located
from twofold.daemon.membership import Membership, Surroundings, configured, digests
from twofold.daemon.modules_on_disk import remove_module, restore_module, write_module
from twofold.errors import CommandRefused, ConfigError, NodeUnreachable, TwofoldError
from twofold.wire.files import Files, pack, unpack

Body = Mapping[str, Any]
Answer = dict[str, Any]

PEER_TIMEOUT_S = 10.0


class Configuration:
    """`handle(caller, body)`: `caller` is a user of this machine, or the name of a node."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._etc = around.etc
        self._lock = asyncio.Lock()
        self._local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "module_add": self._module_add,
            "module_apply": self._module_apply,
            "module_remove": self._module_remove,
            "module_list": self._module_list,
            "module_show": self._module_show,
            "config_check": self._config_check,
            "config_diff": self._config_diff,
        }
        self._peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_check": self._peer_check,
            "peer_write": self._peer_write,
            "peer_restore": self._peer_restore,
            "peer_reload": self._peer_reload,
            "peer_files": self._peer_files,
        }
        self.membership = membership = Membership(around, self._ask)
        self._local |= membership.local
        self._peer |= membership.peer

    def knows(self, command: str) -> bool:
        return command in self._local or command in self._peer

    async def handle(self, caller: str, body: Body) -> Answer:
        command = str(body.get("command"))
        if command in self._local:
            return await self._local[command](body)
        if caller not in {n.name for n in self._node().peers}:
            raise CommandRefused(f"{command} is a command between nodes")
        return await self._peer[command](caller, body)

    def _node(self) -> NodeConfig:
        return configured(self._etc)

    # --- modules ---------------------------------------------------------------------------------

    async def _module_add(self, body: Body) -> Answer:
        name = str(body.get("module"))
        check_module_name(name)
        if name in module_names(self._etc):
            raise CommandRefused(
                f"there is a module {name!r} already",
                f"Change its files and apply them: twofold module apply {name}",
            )
        files = unpack(body.get("files"))
        return await self._applied(name, self._completed(name, files, body))

    async def _module_apply(self, body: Body) -> Answer:
        name = str(body.get("module"))
        directory = load_directory(self._etc, name)
        if body.get("files") is None:
            return await self._applied(name, self._completed(name, module_files(directory), body))
        # New files for a module that is there, such as a newer library's: its values stay.
        files = unpack(body["files"])
        before = load_module(self._etc, name).config
        offered = parse_toml(_text_of(files), "module.toml")
        values = {
            k: v
            for k, v in before.variables.items()
            if isinstance(v, str) and k in offered.get("variables", {})
        }
        given = {**body, "set": {**values, **dict(body.get("set") or {})}}
        port = before.replication.port if before.replication else None
        return await self._applied(name, self._completed(name, files, given, port))

    def _completed(self, name: str, files: Files, body: Body, port: int | None = None) -> Files:
        """The files with `--set` written in, and a port given out when there is none."""
        text = _text_of(files)
        values: dict[str, Any] = dict(body.get("set") or {})
        text = render.set_variables(text, {k: str(v) for k, v in values.items()})
        config = parse_module(name, text)
        if config.replication is not None and config.replication.port is None:
            free = next_port(load_modules_but(self._etc, name))
            text = render.set_port(text, port or free)
        return {**files, "module.toml": (files["module.toml"][0], text.encode())}

    async def _applied(self, name: str, files: Files) -> Answer:
        parse_module(name, _text_of(files))
        running = self._around.state_of(name) != "STOP"
        await self._everywhere(name, files)
        nodes = [n.name for n in self._node().cluster.nodes]
        module = load_module(self._etc, name)
        port = module.config.replication.port if module.config.replication else None
        return {
            "module": name,
            "nodes": nodes,
            "digest": module.digest,
            "port": port,
            "from_next_start": running,
        }

    async def _module_remove(self, body: Body) -> Answer:
        name = str(body.get("module"))
        load_directory(self._etc, name)
        await self._everywhere(name, None)
        return {"module": name, "nodes": [n.name for n in self._node().cluster.nodes]}

    async def _everywhere(self, name: str, files: Files | None) -> None:
        """Check, write and reload on all nodes; `None` removes the module."""
        async with self._lock:
            node = self._node()
            data = None if files is None else pack(files)
            await self._check_everywhere(node, name, data)
            await self._write_everywhere(node, name, data)
            await self._ask_all(node, {"command": "peer_reload"})

    async def _check_everywhere(self, node: NodeConfig, name: str, data: Any) -> None:
        body = {"command": "peer_check", "module": name, "files": data}
        answers = await asyncio.gather(
            *(self._ask(node, n.name, body) for n in node.cluster.nodes), return_exceptions=True
        )
        problems: list[str] = []
        for other, answer in zip(node.cluster.nodes, answers, strict=True):
            if isinstance(answer, NodeUnreachable):
                raise CommandRefused(
                    f"node {other.name} cannot be reached; nothing was changed",
                    "A configuration is applied on all nodes or on none. Start twofoldd there.",
                )
            if isinstance(answer, BaseException):
                raise answer
            problems += [p for p in answer["problems"] if p not in problems]
        if problems:
            raise ConfigError("\n".join(problems))

    async def _write_everywhere(self, node: NodeConfig, name: str, data: Any) -> None:
        body = {"command": "peer_write", "module": name, "files": data}
        digest = "" if data is None else digest_of(unpack(data))
        asked: list[str] = []
        for other in node.cluster.nodes:
            asked.append(other.name)  # also one whose answer is lost may have written
            try:
                answer = await self._ask(node, other.name, body)
                if answer["digest"] != digest:
                    raise ConfigError(f"node {other.name} wrote something else than it was sent")
            except TwofoldError as e:
                undo = {"command": "peer_restore", "module": name, "digest": digest}
                for each in asked:
                    with contextlib.suppress(TwofoldError):
                        await self._ask(node, each, undo)
                raise CommandRefused(
                    f"node {other.name} could not write the module, so it was undone: {e}"
                ) from None

    async def _ask_all(self, node: NodeConfig, body: Body) -> None:
        for other in node.cluster.nodes:
            await self._ask(node, other.name, body)

    async def _ask(self, node: NodeConfig, name: str, body: Body) -> Mapping[str, Any]:
        if name == node.name:
            return await self._peer[str(body["command"])](name, body)
        return await self._around.control().request(name, body, PEER_TIMEOUT_S)

    async def _module_list(self, body: Body) -> Answer:
        return {"modules": [self._summary(name) for name in module_names(self._etc)]}

    def _summary(self, name: str) -> Answer:
        try:
            module = load_module(self._etc, name)
        except ConfigError as e:
            return {"module": name, "error": str(e), "state": self._around.state_of(name)}
        replication = module.config.replication
        return {
            "module": name,
            "kind": module.config.module.kind,
            "description": module.config.module.description,
            "state": self._around.state_of(name),
            "directories": list(replication.directories) if replication else [],
            "port": replication.port if replication else None,
            "addresses": [a.ip for a in module.config.addresses],
            "services": [s.name for s in module.config.services],
            "digest": module.digest,
        }

    async def _module_show(self, body: Body) -> Answer:
        name = str(body.get("module"))
        directory = load_directory(self._etc, name)
        files = {p: c.decode("utf-8", "replace") for p, (_, c) in module_files(directory).items()}
        return {**self._summary(name), "files": files, "directory": str(directory)}

    # --- check and diff --------------------------------------------------------------------------

    async def _config_check(self, body: Body) -> Answer:
        """Everything (or one module) of this node; with `-H '*'` of all."""
        node = self._node()
        wanted = body.get("module")
        names = [str(wanted)] if wanted else list(module_names(self._etc))
        problems: list[str] = []
        for name in names:
            files = module_files(load_directory(self._etc, name))
            # In a thread: looking at the machine's addresses is not asynchronous, and may be slow.
            problems += await asyncio.to_thread(self._problems, node, name, files)
        return {"checked": ["cluster.toml", *names], "problems": problems}

    async def _config_diff(self, body: Body) -> Answer:
        """Which files differ between this node and each other one."""
        node = self._node()
        here = digests(self._etc)
        differences: list[Answer] = []
        for peer in node.peers:
            answer = await self._ask(node, peer.name, {"command": "peer_files"})
            there: dict[str, str] = dict(answer["digests"])
            for file in sorted(here.keys() | there.keys()):
                if here.get(file) != there.get(file):
                    only = node.name if file not in there else peer.name if file not in here else ""
                    differences.append({"file": file, "node": peer.name, "only_on": only})
        return {"differences": differences}

    def _problems(self, node: NodeConfig, name: str, files: Files) -> list[str]:
        """Sentences; empty when this node agrees."""
        text = _text_of(files)
        file = f"modules/{name}/module.toml"
        try:
            with TemporaryDirectory(prefix="twofold-check-") as aside:
                for path, (mode, content) in files.items():
                    pki.write_file(Path(aside) / path, content, mode)
                config = parse_module(name, text, file)
                module = Module(name, config, Path(aside), digest_of(files))
                found = facts.gather(module, self._around.places)
            problems = check_module(module, load_modules_but(self._etc, name), node, found)
            problems += self._running_problems(module)
        except ConfigError as e:
            return str(e).splitlines()
        sentences = located(problems, file, text)
        return [f"{p.sentence()}. {p.mend}".rstrip() for p in sentences]

    def _running_problems(self, module: Module) -> list[Problem]:
        """What cannot change under a running module."""
        state = self._around.state_of(module.name)
        if state == "STOP":
            return []
        before = self._around.running(module.name)
        if before is None or same_replication(before, module):
            return []
        return [
            Problem(
                ("replication",),
                f"[replication] cannot change while the module is {state} on this node",
                f"Stop it first: twofold stop {module.name} -H '*'",
            )
        ]

    # --- what the other nodes ask ----------------------------------------------------------------

    async def _peer_check(self, caller: str, body: Body) -> Answer:
        node, name = self._node(), str(body.get("module"))
        check_module_name(name)
        if body.get("files") is None:
            state = self._around.state_of(name)
            running = f"module {name!r} is {state} on node {node.name}, it cannot be removed. "
            mend = f"Stop it first: twofold stop {name} -H '*'"
            return {"problems": [] if state == "STOP" else [running + mend]}
        files = unpack(body["files"])
        return {"problems": await asyncio.to_thread(self._problems, node, name, files)}

    async def _peer_write(self, caller: str, body: Body) -> Answer:
        name = str(body.get("module"))
        # In a thread: a slow disk must not keep the heartbeats waiting.
        if body.get("files") is None:
            await asyncio.to_thread(remove_module, self._etc, name)
        else:
            await asyncio.to_thread(write_module, self._etc, name, unpack(body["files"]))
        return {"digest": self._digest_of(name)}

    async def _peer_restore(self, caller: str, body: Body) -> Answer:
        """Undo one write, and no other: only while what it wrote is what is there."""
        name = str(body.get("module"))
        if self._digest_of(name) == body.get("digest"):
            await asyncio.to_thread(restore_module, self._etc, name)
        return {}

    def _digest_of(self, name: str) -> str:
        """Of the module as it is on disk; "" when it is not there."""
        there = name in module_names(self._etc)
        return digest_of(module_files(self._etc / "modules" / name)) if there else ""

    async def _peer_reload(self, caller: str, body: Body) -> Answer:
        await self._around.reload()
        return {}

    async def _peer_files(self, caller: str, body: Body) -> Answer:
        return {"digests": digests(self._etc)}


def same_replication(before: Module, after: Module) -> bool:
    """But for the limit of a resync, which a running engine can be told."""
    old, new = before.config.replication, after.config.replication
    if old is None or new is None:
        return old is new
    same_limit = {"resync_limit_bytes_per_s": new.resync_limit_bytes_per_s}
    return old.model_copy(update=same_limit) == new


def load_directory(etc: Path, name: str) -> Path:
    """The module's directory; refused in a sentence when there is none."""
    check_module_name(name)
    directory = etc / "modules" / name
    if not (directory / "module.toml").is_file():
        known = module_names(etc)
        raise CommandRefused(
            f"there is no module {name!r} here",
            nearest(name, known) or f"Make one with: twofold module add {name}",
        )
    return directory


def _text_of(files: Files) -> str:
    try:
        return files["module.toml"][1].decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("module.toml is not UTF-8 text", "Save it as UTF-8.") from None


def load_modules_but(etc: Path, name: str) -> tuple[Module, ...]:
    return tuple(load_module(etc, n) for n in module_names(etc) if n != name)
