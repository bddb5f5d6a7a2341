"""The seeds that once broke a promise, and those that show a planted fault.

What was added to the worlds later begins at a line of `seeds.txt`: the seeds above it tell the
stories that they were kept for, without it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.sim.planted import PLANTS

_PLACE = Path(__file__).parent / "seeds.txt"


@cache
def kept() -> tuple[int, ...]:
    return _seeds(_PLACE.read_text())


@cache
def from_before(mark: str) -> frozenset[int]:
    """`mark`: a whole line of the file, its newline included."""
    before, found, _ = _PLACE.read_text().partition(mark)
    assert found, mark
    return frozenset((*_seeds(before), *PLANTS.values()))


def _seeds(text: str) -> tuple[int, ...]:
    lines = text.splitlines()
    return tuple(int(line.split()[0]) for line in lines if line and not line.startswith("#"))
