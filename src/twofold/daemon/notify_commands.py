"""Commands about notifications: test them, put a secret on all nodes, say what is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twofold.config.load import NodeConfig
from twofold.daemon.membership import configured
from twofold.daemon.notify_secrets import VALUE_BYTES_MAX, read_secrets, write_secret
from twofold.daemon.notifying import Notifying
from twofold.errors import CommandRefused, TwofoldError

Body = Mapping[str, Any]
Answer = dict[str, Any]
Ask = Callable[[NodeConfig, str, Body], Awaitable[Body]]


class NotifyCommands:
    """`current` is what runs while this node is a member of a cluster."""

    def __init__(self, etc: Path, ask: Ask) -> None:
        self._etc = etc
        self._ask = ask
        self.current: Notifying | None = None
        self.local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "notify_test": self._test,
            "notify_set": self._set,
            "notify_list": self._list,
        }
        self.peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_notify": self._peer_notify,
            "peer_notify_set": self._peer_set,
        }

    def _running(self) -> Notifying:
        if self.current is None:
            configured(self._etc)
            raise CommandRefused("the daemon is just starting", "Try again in a moment.")
        return self.current

    async def _test(self, body: Body) -> Answer:
        name = body.get("name")
        return {"sent": await self._running().test(None if name is None else str(name))}

    async def _list(self, body: Body) -> Answer:
        secrets = await asyncio.to_thread(read_secrets, self._etc)
        targets = [
            {**s.model_dump(by_alias=True, exclude={"template"}), "secret": s.name in secrets}
            for s in configured(self._etc).cluster.notify
        ]
        return {"targets": targets}

    async def _set(self, body: Body) -> Answer:
        """On every node that answers; the others are named, so that it can be done again."""
        node, name, value = configured(self._etc), str(body.get("name")), body.get("value")
        if name not in {s.name for s in node.cluster.notify}:
            known = ", ".join(s.name for s in node.cluster.notify)
            raise CommandRefused(
                f"there is no notification {name!r} in cluster.toml",
                f"There are {known}." if known else "Add a [[notify]] section and apply it.",
            )
        if not isinstance(value, str) or len(value.encode()) > VALUE_BYTES_MAX or "\n" in value:
            raise CommandRefused("the URL must be one line of at most 4096 bytes")
        asked = {"command": "peer_notify_set", "name": name, "value": value}
        done: list[str] = []
        failed: list[Answer] = []
        for each in node.cluster.nodes:
            try:
                await self._ask(node, each.name, asked)
                done.append(each.name)
            except TwofoldError as e:
                failed.append({"node": each.name, "text": e.sentence or str(e)})
        return {"name": name, "nodes": done, "failed": failed}

    async def _peer_set(self, caller: str, body: Body) -> Answer:
        name, value = str(body.get("name")), str(body.get("value"))
        await asyncio.to_thread(write_secret, self._etc, name, value)
        return {}

    async def _peer_notify(self, caller: str, body: Body) -> Answer:
        return await self._running().peer_notify(caller, body)
