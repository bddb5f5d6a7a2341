"""From single probes to a verdict: a checker counts after `failures` bad probes in a row, and again
only after as many more; one good probe forgets all.

Also how often the module may try again: `max_loops` actions within `loop_interval`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tally:
    failures_to_count: int
    failures: int = 0
    ok: bool | None = None  # None: not probed yet
    text: str = ""

    @property
    def tripped(self) -> bool:
        return self.failures > 0 and self.failures % self.failures_to_count == 0


def count(tally: Tally, ok: bool, text: str) -> Tally:
    """The tally after one more probe; `tripped` is true just at the probe that counts."""
    if ok:
        return replace(tally, failures=0, ok=True, text=text)
    failures = tally.failures + 1
    counted = failures >= tally.failures_to_count
    return replace(tally, failures=failures, ok=False if counted else tally.ok, text=text)


def recent(loops_s: tuple[float, ...], now_s: float, interval_s: float) -> tuple[float, ...]:
    """The loops that still count."""
    return tuple(at for at in loops_s if now_s - at < interval_s)
