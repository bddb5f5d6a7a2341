"""Tells a module's `transition` script each change of state, beside everything else.

Nothing waits for it: changes are told one after the other in a task of its own, each within a
bound. When the script is slower than the changes, the oldest untold ones are left out, and the
journal says so. A script that fails or hangs is an alarm and has no other consequence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from twofold.errors import TwofoldError
from twofold.machine.model import State

BOUND_S = 30.0
UNTOLD_MAX = 16


class Transitions:
    """`call("transition", FROM, TO, WHY)` runs the script; `alarm(sentence)` writes it down."""

    def __init__(
        self,
        call: Callable[..., Awaitable[None]],
        alarm: Callable[[str], None],
        bound_s: float = BOUND_S,
    ) -> None:
        self._call, self._alarm, self._bound_s = call, alarm, bound_s
        self._untold: deque[tuple[str, str, str]] = deque()
        self._telling: asyncio.Task[None] | None = None

    def tell(self, before: State, after: State, because: str) -> None:
        """Returns at once."""
        if len(self._untold) == UNTOLD_MAX:
            left_out = self._untold.popleft()
            self._alarm(f"the script transition is too slow: {left_out[1]} was not told to it")
        self._untold.append((before.value, after.value, because))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while self._untold:
            change = self._untold.popleft()
            try:
                async with asyncio.timeout(self._bound_s):
                    await self._call("transition", *change)
            except TimeoutError:
                self._alarm(f"the script transition did not end within {self._bound_s:g} s")
            except TwofoldError as e:
                self._alarm(str(e).rstrip("."))

    async def close(self) -> None:
        """The daemon ends; a script that runs is ended."""
        self._untold.clear()
        if self._telling is not None:
            self._telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._telling
