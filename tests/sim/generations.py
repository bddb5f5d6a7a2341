"""What becomes of a generation record, as `crates/mirror-core/src/generation.rs` has it.

The comparison is the engine's own, through the Python border; forks and adoptions are said again
here, because the simulation makes thousands of them a second.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

from twofold import _mirror
from twofold.machine.model import Generation

_HISTORY_MAX = 10
_fresh = itertools.count(1)


def begin() -> None:
    """A new world numbers its generations from the start, so that a replay tells the same."""
    global _fresh
    _fresh = itertools.count(1)


def fresh_number() -> str:
    return f"{next(_fresh):016x}"


def _past(g: Generation) -> tuple[str, ...]:
    older = tuple(h for h in g.history if h != g.current)
    return ((g.current, *older) if not g.blank else older)[:_HISTORY_MAX]


def first(number: str, epoch: int) -> Generation:
    return Generation(current=number, base=number, epoch=epoch)


def fork(g: Generation, number: str) -> Generation:
    base = g.current if g.base.strip("0") == "" else g.base
    return replace(g, current=number, base=base, history=_past(g))


def adopt(mine: Generation, current: str, history: tuple[str, ...]) -> Generation:
    return replace(
        mine,
        current=current,
        base=current,
        history=history,
        sync_target=False,
        outdated=False,
        sole=False,
    )


def shared(g: Generation) -> Generation:
    return replace(g, base=g.current, sole=False)


def must_fork(g: Generation) -> bool:
    return not (g.sole and g.current != g.base)


def up_to_date(g: Generation) -> bool:
    return not (g.blank or g.sync_target or g.outdated)


def compare(mine: Generation, theirs: Generation) -> str:
    return _compare(
        (mine.current, mine.base, mine.history), (theirs.current, theirs.base, theirs.history)
    )


@functools.lru_cache(maxsize=4096)
def _compare(
    mine: tuple[str, str, tuple[str, ...]], theirs: tuple[str, str, tuple[str, ...]]
) -> str:
    return _mirror.compare_generations(_fields(mine), _fields(theirs))


def _fields(numbers: tuple[str, str, tuple[str, ...]]) -> dict[str, object]:
    current, base, history = numbers
    g = Generation(current=current, base=base, history=history)
    return {**g.__dict__, "history": list(history)}
