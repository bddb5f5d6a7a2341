"""A snapshot for somebody at a browser: collected from all nodes and sent while it grows.

One at a time in this process: it asks the nodes for some hundred files, one after the other, and
nobody needs two. In memory there is never more than one of those files, and what is packed of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator

from twofold.errors import TwofoldError
from twofold.web.daemon_link import Busy
from twofold.web.services import Services
from twofold.web.sessions import Who
from twofold.wire.archive import Answers, Archive, Ask, collecting

Steps = Generator[Ask, Answers, None]


class Bytes:
    """What was packed and not sent yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        made, self._parts = b"".join(self._parts), []
        return made


def check_free(parts: Services) -> None:
    if parts.one_snapshot.locked():
        raise Busy("a snapshot is being collected already", "Try again in a minute.")


async def collected(parts: Services, who: Who, nodes: list[str]) -> AsyncGenerator[bytes]:
    """The archive in pieces. The first one comes when the nodes have said what they have; if
    this node's daemon does not answer, that is raised before it."""
    check_free(parts)
    async with parts.one_snapshot:
        out = Bytes()
        archive = Archive(out, time.time())
        steps = collecting(archive, nodes, time.monotonic)
        ask: Ask | None = next(steps)
        is_first = True
        while ask is not None:
            answers: Answers | TwofoldError
            try:
                answers = await parts.ask_all(
                    who, ask.nodes, "snapshot", timeout_s=ask.timeout_s, **ask.fields
                )
            except TwofoldError as e:
                answers = e
            # Packing takes some 10 ms of processor for a large file: not in the loop of the pages.
            ask = await asyncio.to_thread(_next, steps, answers)
            packed = out.taken()
            if packed or is_first or ask is None:
                is_first = False
                yield packed


def _next(steps: Steps, answers: Answers | TwofoldError) -> Ask | None:
    try:
        return steps.throw(answers) if isinstance(answers, TwofoldError) else steps.send(answers)
    except StopIteration:
        return None
