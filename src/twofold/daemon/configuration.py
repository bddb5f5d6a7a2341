"""Commands about configuration: modules and membership, all or nothing on all nodes.

How a change reaches all nodes or none is `twofold.daemon.changes`; what a node says about it first
is `twofold.daemon.opinion`; the versions that were are `twofold.daemon.versions`. The other nodes
are asked with the commands named `peer_*`, which only a node may send.

The composition root gives this object its surroundings and routes to `handle` what `knows` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twofold.config import render
from twofold.config.check import next_port
from twofold.config.homes import homes_of
from twofold.config.load import (
    NodeConfig,
    check_module_name,
    load_module,
    module_files,
    module_names,
    nearest,
    parse_module,
    parse_toml,
)
from twofold.config.problem import as_written
from twofold.daemon.changes import Changes
from twofold.daemon.history import CLUSTER
from twofold.daemon.keys import Keys
from twofold.daemon.membership import Membership, Surroundings, configured
from twofold.daemon.notify_commands import NotifyCommands
from twofold.daemon.opinion import Opinion, load_modules_but, module_text
from twofold.daemon.users import UserCommands
from twofold.daemon.versions import Versions, whom
from twofold.errors import CommandRefused, ConfigError, NotThere
from twofold.wire.files import Files, unpack

Body = Mapping[str, Any]
Answer = dict[str, Any]

PEER_TIMEOUT_S = 10.0


class Configuration:
    """`handle(caller, body)`: `caller` is a user of this machine, or the name of a node."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._etc = around.etc
        self._opinion = Opinion(around)
        self.changes = Changes(
            around.etc, around.var, self._ask, self._opinion.check, around.reload
        )
        self.versions = versions = Versions(around, self._ask, self.changes, self._completed_apply)
        self.notify = notify = NotifyCommands(around.etc, self._ask)
        self.keys = keys = Keys(around.etc, self._ask, around.clock, around.note)
        self.membership = membership = Membership(around, self._ask, lambda: keys.trouble)
        self.users = users = UserCommands(around.etc, self._ask)
        self._local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "module_add": self._module_add,
            "module_apply": self._module_apply,
            "module_remove": self._module_remove,
            "module_list": self._module_list,
            "module_show": self._module_show,
            "config_check": self._config_check,
            **versions.local,
            **membership.local,
            **users.local,
            **notify.local,
            **keys.local,
        }
        self._peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_reload": self._peer_reload,
            **self.changes.peer,
            **versions.peer,
            **membership.peer,
            **users.peer,
            **notify.peer,
            **keys.peer,
        }

    @property
    def places(self) -> tuple[Path, ...]:
        return self._around.places

    def knows(self, command: str) -> bool:
        return command in self._local or command in self._peer

    async def handle(self, caller: str, body: Body) -> Answer:
        command = str(body.get("command"))
        if command in self._local:
            return await self._local[command]({**body, "by": whom(caller, body)})
        if caller not in {n.name for n in self._node().peers}:
            raise CommandRefused(f"{command} is a command between nodes")
        return await self._peer[command](caller, body)

    def _node(self) -> NodeConfig:
        return configured(self._etc)

    async def _ask(self, node: NodeConfig, name: str, body: Body) -> Mapping[str, Any]:
        if name == node.name:
            return await self._peer[str(body["command"])](name, body)
        return await self._around.control().request(name, body, PEER_TIMEOUT_S)

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
        new = {**body, "base": ""}  # somebody else may just be adding it
        completed = self._completed(name, files, body)
        texts = module_text(files), module_text(completed)
        try:
            answer = await self._applied(name, completed, new)
        except ConfigError as e:
            raise ConfigError(as_written(e.sentence or str(e), *texts), e.mend) from None
        return {**answer, "problems": [as_written(p, *texts) for p in answer["problems"]]}

    async def _module_apply(self, body: Body) -> Answer:
        name = str(body.get("module"))
        return await self._applied(name, self._completed_apply(name, body), body)

    def _completed_apply(self, name: str, body: Body) -> Files:
        """What would be applied: this node's files, or new ones with the old values."""
        if name not in module_names(self._etc):
            return self._completed(name, unpack(body["files"]), body)
        directory = load_directory(self._etc, name)
        if body.get("files") is None:
            return self._completed(name, module_files(directory), body)
        # New files for a module that is there, such as a newer library's: its values stay.
        files = unpack(body["files"])
        offered = parse_toml(module_text(files), "module.toml")
        before = load_module(self._etc, name).config
        values = {
            k: v
            for k, v in before.variables.items()
            if isinstance(v, str) and _wants_value(offered, k, bool(body.get("exact")))
        }
        given = {**body, "set": {**values, **dict(body.get("set") or {})}}
        port = before.replication.port if before.replication else None
        return self._completed(name, files, given, port)

    def _completed(self, name: str, files: Files, body: Body, port: int | None = None) -> Files:
        """The files with `--set` written in, and a port given out when there is none."""
        text = module_text(files)
        values: dict[str, Any] = dict(body.get("set") or {})
        text = render.set_variables(text, {k: str(v) for k, v in values.items()})
        if body.get("homes"):
            text = render.set_nodes(text, [str(n) for n in body["homes"]])
        config = parse_module(name, text)
        if config.replication is not None and config.replication.port is None:
            free = next_port(load_modules_but(self._etc, name))
            text = render.set_port(text, port or free)
        return {**files, "module.toml": (files["module.toml"][0], text.encode())}

    async def _applied(self, name: str, files: Files, body: Body) -> Answer:
        parse_module(name, module_text(files))
        answer = await self.versions.apply(name, files, body)
        replication = parse_module(name, module_text(files)).replication
        later = any(e["when"] == "next_start" for e in answer["effects"])
        return {
            **answer,
            "module": name,
            "homes": list(homes_of(self._node(), name)),
            "port": replication.port if replication else None,
            "from_next_start": later,
        }

    async def _module_remove(self, body: Body) -> Answer:
        name = str(body.get("module"))
        load_directory(self._etc, name)
        return {**await self.versions.apply(name, None, body), "module": name}

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
            "nodes": (nodes := list(homes_of(self._node(), name))),
            "here": self._node().name in nodes,
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

    # --- check -----------------------------------------------------------------------------------

    async def _config_check(self, body: Body) -> Answer:
        """What is on this node's disk; with `files`, what applying them would do everywhere."""
        node = self._node()
        if body.get("files") is not None or body.get("target") is not None:
            return await self.versions.look(body)
        wanted = body.get("module")
        names = [str(wanted)] if wanted else list(module_names(self._etc))
        problems: list[str] = []
        for name in names:
            files = module_files(load_directory(self._etc, name))
            # In a thread: looking at the machine's addresses is not asynchronous, and may be slow.
            found = await asyncio.to_thread(self._opinion.of_module, node, name, files)
            problems += found.problems
        return {"checked": [CLUSTER, *names], "problems": problems}

    async def _peer_reload(self, caller: str, body: Body) -> Answer:
        await self._around.reload()
        return {}


def _wants_value(offered: Mapping[str, Any], key: str, exact: bool) -> bool:
    """A variable that the new files leave open; `exact` files say all of their values."""
    variables: Mapping[str, Any] = offered.get("variables", {})
    return key in variables and (not exact or isinstance(variables[key], dict))


def load_directory(etc: Path, name: str) -> Path:
    """The module's directory; refused in a sentence when there is none."""
    check_module_name(name)
    directory = etc / "modules" / name
    if not (directory / "module.toml").is_file():
        known = module_names(etc)
        raise NotThere(
            f"there is no module {name!r} here",
            nearest(name, known) or f"Make one with: twofold module add {name}",
        )
    return directory
