"""Faults planted on purpose: each must be found, or the simulation proves nothing.

A plant is a name that one place in the simulated world acts on, or the sentence of a row that is
taken out of the table. `FOUND_WITHIN`
is how many seeds may be needed at most.
"""

from __future__ import annotations

import functools

from twofold.machine.model import State
from twofold.machine.rule import Rule
from twofold.machine.step import rows_of

FOUND_WITHIN = 5000
ROW = "row removed: "

# Each with a seed that has found it; when the worlds change, others are searched.
PLANTS: dict[str, int] = {
    "claim skipped": 262,  # every question to the arbiter is answered "yes"
    "generation not written before release": 8,  # the engine goes on alone under the common one
    "stale epoch accepted": 295,  # the engine takes commands of an epoch that is over
    "acknowledged before applied": 0,  # the secondary answers for what it has not got
    "frozen writes released": 2,  # the primary goes on by itself when the link is lost
    "crash forgotten": 26538,  # a copy that was cut short is taken for whole
    "memory not written": 821,  # state.json stays as it was first
    "resync ends without the last write": 0,
    "address not released": 0,
    "application not stopped": 0,
    ROW + "both nodes served; {peer} has precedence, so {node} gives up and follows it": 1317,
    ROW + "{peer} serves no more, and {node} does not take over by itself: both look who may": 187,
}


@functools.cache
def rows_without(plant: str, state: State, event: type) -> tuple[Rule, ...]:
    rows = rows_of(state, event)
    if not plant.startswith(ROW):
        return rows
    return tuple(r for r in rows if r.because != plant.removeprefix(ROW))
