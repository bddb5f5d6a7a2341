"""What routes and pages are given: the few long-lived parts of this process, and what they do
together.

`Services.act` is the one way in which anybody changes anything: the person is checked again, the
daemon is asked on their behalf, and the look at the cluster is renewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twofold.errors import NodeUnreachable, TwofoldError
from twofold.web.daemon_link import Link
from twofold.web.guard import Unknown
from twofold.web.people import People
from twofold.web.sessions import Who
from twofold.web.watch import Object, Watch
from twofold.wire import roles
from twofold.wire.lines import error_from

ACT_TIMEOUT_S = 12.0


@dataclass
class Services:
    etc: Path
    link: Link
    people: People
    watch: Watch
    one_snapshot: asyncio.Lock = field(default_factory=asyncio.Lock)
    _background: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def act(
        self,
        who: Who,
        command: str,
        *,
        node: str | None = None,
        timeout_s: float = ACT_TIMEOUT_S,
        **fields: Any,
    ) -> Object:
        """The answer of `node` (this one when None); raises its refusal."""
        person = who if who.token is not None else self.people.still(who)
        if person is None:
            raise Unknown("your session has ended", "Log in again.")
        by_token = who.token is not None
        roles.check({"command": command, **fields}, person.name, person.role, by_token)
        fields["as_user"] = person.as_user()
        try:
            if node is None or node == self.watch.snapshot.here:
                return await self.link.ask(command, timeout_s=timeout_s, **fields)
            answers = await self.link.ask_nodes([node], command, timeout_s=timeout_s, **fields)
            return _of_one(answers)
        finally:
            if not roles.only_looks({"command": command, **fields}):
                self._look_again()

    async def ask_all(
        self, who: Who, nodes: Sequence[str], command: str, **fields: Any
    ) -> list[Object]:
        """One answer for each node, a refusal among them as `error`."""
        roles.check({"command": command, **fields}, who.name, who.role)
        return await self.link.ask_nodes(nodes, command, as_user=who.as_user(), **fields)

    def _look_again(self) -> None:
        async def look() -> None:
            for _ in range(3):  # an action is accepted first, and does its work a moment later
                await self.watch.look_again()
                await asyncio.sleep(0.3)

        if len(self._background) < 4:
            task = asyncio.create_task(look())
            self._background.add(task)
            task.add_done_callback(self._background.discard)


def _of_one(answers: list[Object]) -> Object:
    if not answers:
        raise NodeUnreachable("that node did not answer")
    answer = answers[0]
    if "error" in answer:
        error: TwofoldError = error_from(answer["error"])
        raise error
    return answer
