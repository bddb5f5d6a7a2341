"""Several witnesses, asked in their order; a majority of all of them rules.

Both nodes ask in the same order, and a node that is refused by one only looks at the rest: so two
nodes that ask at the same moment do not share the witnesses between them. The next is asked when
one has answered, or after a moment. A question asked again claims what is left: then the other
node is likely gone, and a claim of its own that never got a majority must not stand in the way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from twofold.errors import TwofoldError
from twofold.machine.arbitration import Answer, Claim, Ruling, majority, ruling
from twofold.ports import Verdict

HEDGE_S = 0.2


class Witness(Protocol):
    name: str

    async def claim(self, module: str, asked: Claim) -> Answer:
        """Raises a `TwofoldError` when it cannot say."""
        ...

    async def look(self) -> None:
        """Returns when it could rule now, raises a `TwofoldError` when not."""
        ...

    async def close(self) -> None: ...


class Witnesses:
    """Implements `twofold.ports.ArbiterPort` for one module of one node."""

    def __init__(self, witnesses: Sequence[Witness], module: str, node: str) -> None:
        self._witnesses = witnesses
        self._module = module
        self._node = node

    async def claim(self, term: int, again: bool, bound_s: float) -> Ruling:
        asked = Claim(term, self._node)
        answers: dict[str, Answer] = {}
        reasons: dict[str, str] = {}
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(bound_s):
                for witness in self._witnesses:
                    task = asyncio.create_task(self._one(witness, asked, answers, reasons))
                    tasks.append(task)
                    patience_s = None if witness is self._witnesses[-1] else HEDGE_S
                    await asyncio.wait([task], timeout=patience_s)
                    if not again and any(not a.won for a in answers.values()):
                        break
                if tasks:
                    await asyncio.wait(tasks)
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        heard = [answers.get(w.name) for w in self._witnesses]
        said = ruling(asked, heard, len(heard))
        if said.won is None and reasons:
            text = "; ".join(reasons[w.name] for w in self._witnesses if w.name in reasons)
            return Ruling(None, text=f"{said.text}: {text}")
        return said

    async def _one(
        self, witness: Witness, asked: Claim, answers: dict[str, Answer], reasons: dict[str, str]
    ) -> None:
        reasons[witness.name] = f"{witness.name} did not answer in time"
        try:
            answers[witness.name] = await witness.claim(self._module, asked)
            del reasons[witness.name]
        except TwofoldError as e:
            reasons[witness.name] = e.sentence or str(e)

    async def look(self, bound_s: float) -> Verdict:
        return await look_at(self._witnesses, bound_s)


async def look_at(witnesses: Sequence[Witness], bound_s: float) -> Verdict:
    """Whether a majority could rule now."""
    said = await asyncio.gather(*(_look(w, bound_s) for w in witnesses))
    silent = [text for text in said if text]
    there, needed = len(said) - len(silent), majority(len(said))
    if not silent:
        return Verdict(True, f"all {len(said)} witnesses answer" if there > 1 else "it answers")
    return Verdict(there >= needed, f"{there} of {len(said)} answer: {'; '.join(silent)}")


async def _look(witness: Witness, bound_s: float) -> str:
    try:
        async with asyncio.timeout(bound_s):
            await witness.look()
    except TwofoldError as e:
        return e.sentence or str(e)
    except TimeoutError:
        return f"{witness.name} did not answer in time"
    return ""
