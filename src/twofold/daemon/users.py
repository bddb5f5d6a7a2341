"""Users on all nodes: changed on one, told to the others, and found again by one that was away.

Unlike a module's configuration a change does not need every node: at three in the morning, with
the other server dead, a lost password must still be replaceable. So a change counts here at once,
is told to whoever can be reached, and every node asks the others from time to time which version
they have; the newest wins (`twofold.config.users`).
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twofold.adapters import pki
from twofold.config.load import NodeConfig, load_node
from twofold.config.users import (
    FILE,
    Users,
    is_newer,
    parse_users,
    users_text,
    with_password,
    with_role,
    with_token,
    with_user,
    without_token,
    without_user,
)
from twofold.errors import ConfigError, TwofoldError
from twofold.wire.roles import WEB_USER

Body = Mapping[str, Any]
Answer = dict[str, Any]
Ask = Callable[[NodeConfig, str, Body], Awaitable[Body]]

ASK_EVERY_S = 20.0
log = logging.getLogger("twofold.users")


def web_group() -> int | None:
    """The group that the web process is in; None on a machine without it."""
    try:
        return grp.getgrnam(WEB_USER).gr_gid
    except KeyError:
        return None


def read_users(etc: Path) -> Users:
    """Nobody, when there is no file yet."""
    try:
        return parse_users((etc / FILE).read_text("utf-8"))
    except FileNotFoundError:
        return Users()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{etc / FILE} cannot be read: {e}") from None


def write_users(etc: Path, users: Users) -> None:
    """For root and the web process only."""
    pki.write_file(etc / FILE, users_text(users).encode(), 0o640, web_group())


class UserCommands:
    """`local` and `peer` are its commands; `ask(node, name, body)` asks another node."""

    def __init__(self, etc: Path, ask: Ask) -> None:
        self._etc = etc
        self._ask = ask
        self._lock = asyncio.Lock()
        self._known: tuple[int, Users] | None = None
        self.local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "user_list": self._list,
            "user_add": self._changing(
                lambda u, b, t: with_user(u, _text(b, "user"), _text(b, "role"), _hash(b), t)
            ),
            "user_role": self._changing(
                lambda u, b, t: with_role(u, _text(b, "user"), _text(b, "role"), t)
            ),
            "user_password": self._changing(
                lambda u, b, t: with_password(u, _text(b, "user"), _hash(b), t)
            ),
            "user_remove": self._changing(lambda u, b, t: without_user(u, _text(b, "user"), t)),
            "token_add": self._changing(
                lambda u, b, t: with_token(u, _text(b, "user"), _fields(b), t)
            ),
            "token_remove": self._changing(
                lambda u, b, t: without_token(u, _text(b, "user"), _text(b, "token"), t)
            ),
        }
        self.peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_users": self._peer_users
        }

    def current(self) -> Users:
        """Read again only when the file changed; the gate asks for every command of the web."""
        try:
            stamp = (self._etc / FILE).stat().st_mtime_ns
        except OSError:
            return Users()
        if self._known is None or self._known[0] != stamp:
            self._known = (stamp, read_users(self._etc))
        return self._known[1]

    async def _list(self, body: Body) -> Answer:
        users = self.current()
        return {
            "version": users.version,
            "users": [
                {
                    "user": u.name,
                    "role": u.role,
                    "password_at": u.password_at,
                    "tokens": [t.model_dump(exclude={"digest"}) for t in u.tokens],
                }
                for u in users.users
            ],
        }

    def _changing(
        self, change: Callable[[Users, Body, float], Users]
    ) -> Callable[[Body], Awaitable[Answer]]:
        async def changed(body: Body) -> Answer:
            async with self._lock:
                new = change(self.current(), body, time.time())
                await asyncio.to_thread(write_users, self._etc, new)
            told, missing = await self._tell(new)
            return {"version": new.version, "nodes": told, "later": missing}

        return changed

    async def _tell(self, users: Users) -> tuple[list[str], list[str]]:
        """Who has it now, and who will get it later."""
        node = load_node(self._etc)
        if node is None:
            return [], []
        told, missing = [node.name], list[str]()
        for peer in node.peers:
            try:
                await self._exchange(node, peer.name, users)
                told.append(peer.name)
            except TwofoldError:
                missing.append(peer.name)
        return told, missing

    async def _exchange(self, node: NodeConfig, peer: str, users: Users) -> None:
        body = {"command": "peer_users", "users": users_text(users)}
        answer = await self._ask(node, peer, body)
        await self._take(str(answer.get("users") or ""), peer)

    async def _take(self, text: str, whose: str) -> None:
        if not text:
            return
        offered = parse_users(text)
        async with self._lock:
            if is_newer(offered, self.current()):
                await asyncio.to_thread(write_users, self._etc, offered)
                log.info("users: version %d taken from %s", offered.version, whose)

    async def _peer_users(self, caller: str, body: Body) -> Answer:
        """Take what is newer; give back what is newer here."""
        await self._take(str(body.get("users") or ""), caller)
        return {"users": users_text(self.current())}

    async def run(self) -> None:
        """Asks the other nodes which version they have, until cancelled."""
        while True:
            node = load_node(self._etc)
            for peer in node.peers if node is not None else ():
                with contextlib.suppress(TwofoldError):
                    assert node is not None
                    await self._exchange(node, peer.name, self.current())
            await asyncio.sleep(ASK_EVERY_S)


def _text(body: Body, key: str) -> str:
    return str(body.get(key, ""))


def _hash(body: Body) -> str:
    return _text(body, "password_hash")


def _fields(body: Body) -> dict[str, object]:
    """`id` is the frame's own, so the token's is called `token` on the way."""
    fields: dict[str, object] = {k: body.get(k) for k in ("label", "digest", "role", "ends_at")}
    return {"id": body.get("token"), **fields}
