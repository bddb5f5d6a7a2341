"""From single probes to a verdict, and how often a module may try again.

A checker counts (`tripped`) after `failures_to_count` bad probes that no `successes_to_clear` good
ones in a row came between, and again after as many more; after such good ones it is well again.

Flap damping: a checker whose probes change between good and bad as often as `UNSTEADY_AT` times in
the last `WINDOW` is *unsteady*, until they change as rarely as `STEADY_AT`. While it is, it
takes twice as many failures to count, and twice as many successes to be well after that: a probe
that comes and goes must not make a module come and go. That it is unsteady is an alarm of its own
(`daemon.checking`).

Also how often the module may try again: `max_loops` actions within `loop_interval`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

WINDOW = 20
UNSTEADY_AT = 8
STEADY_AT = 3
DAMPING = 2


@dataclass(frozen=True)
class Tally:
    failures_to_count: int
    successes_to_clear: int = 1
    failures: int = 0  # bad probes since it was last well
    towards: int = 0  # ... and of these, since it last counted
    successes: int = 0  # good probes in a row
    ok: bool | None = None  # None: not probed yet
    text: str = ""
    tripped: bool = False  # just now
    unsteady: bool = False
    outcomes: tuple[bool, ...] = ()  # the last probes, oldest first


def count(tally: Tally, ok: bool, text: str) -> Tally:
    """The tally after one more probe; `tripped` is true just at the probe that counts."""
    outcomes = (*tally.outcomes, ok)[-WINDOW:]
    unsteady = _unsteady(tally.unsteady, outcomes)
    factor = DAMPING if unsteady else 1
    after = replace(tally, text=text, tripped=False, unsteady=unsteady, outcomes=outcomes)
    if ok:
        successes = tally.successes + 1
        forgotten = tally.failures == 0 or successes >= tally.successes_to_clear
        towards = 0 if forgotten else tally.towards
        needed = tally.successes_to_clear * (factor if tally.ok is False else 1)
        if tally.failures and successes < needed:
            return replace(after, successes=successes, towards=towards)
        return replace(after, successes=successes, failures=0, towards=towards, ok=True)
    towards = tally.towards + 1
    counted = towards >= tally.failures_to_count * factor
    return replace(
        after,
        failures=tally.failures + 1,
        towards=0 if counted else towards,
        successes=0,
        ok=False if counted else tally.ok,
        tripped=counted,
    )


def changes(outcomes: tuple[bool, ...]) -> int:
    """How often the probes went from good to bad or back."""
    return sum(one != two for one, two in pairwise(outcomes))


def _unsteady(before: bool, outcomes: tuple[bool, ...]) -> bool:
    return changes(outcomes) > STEADY_AT if before else changes(outcomes) >= UNSTEADY_AT


def recent(loops_s: tuple[float, ...], now_s: float, interval_s: float) -> tuple[float, ...]:
    """The loops that still count."""
    return tuple(at for at in loops_s if now_s - at < interval_s)
