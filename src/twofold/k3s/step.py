"""One step of an installation, and the way through a list of them.

A step knows whether it is done by looking at the machine, never by what was remembered: so the list
can be interrupted anywhere and begun again, and a step that somebody has done by hand counts. After
`do` it must be done; if not, the step has failed. The record is for people, and for `uninstall`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from twofold.errors import MachineError, TwofoldError
from twofold.k3s.machine import Machine

RECORD = "/var/lib/twofold/k3s-install.json"
PAUSE_S, PAUSE_PER_LOOK = 2.0, 2.0  # the longer of: so long, so many times the look

Act = Callable[[Machine], None]
Ask = Callable[[Machine], bool]


@dataclass(frozen=True)
class Step:
    """`says` tells a person what it does; `undo` is None where nothing of ours is left."""

    name: str
    says: str
    is_done: Ask
    do: Act
    undo: Act | None = None


@dataclass(frozen=True)
class Outcome:
    step: str
    says: str
    result: str  # done, was done, would be done, failed, undone
    text: str = ""


class StepFailed(MachineError):
    code = "step_failed"


def go(
    steps: Sequence[Step], machine: Machine, tell: Callable[[Outcome], None], dry: bool = False
) -> list[Outcome]:
    """In order, to the first failure, which is raised after it was told and recorded."""
    outcomes: list[Outcome] = []

    def note(step: Step, result: str, text: str = "") -> None:
        outcomes.append(Outcome(step.name, step.says, result, text))
        tell(outcomes[-1])

    for step in steps:
        if step.is_done(machine):
            note(step, "was done")
            continue
        if dry:
            note(step, "would be done")
            continue
        try:
            step.do(machine)
            if not step.is_done(machine):
                raise StepFailed(f"the step {step.name} was taken, but it is still not so")
        except TwofoldError as error:
            note(step, "failed", str(error))
            _keep(machine, outcomes)
            raise
        note(step, "done")
        _keep(machine, outcomes)
    return outcomes


def back(
    steps: Sequence[Step], machine: Machine, tell: Callable[[Outcome], None], dry: bool = False
) -> list[Outcome]:
    """Undo what can be undone, last first; one that fails does not keep the others."""
    outcomes: list[Outcome] = []
    for step in reversed(steps):
        if step.undo is None:
            continue
        result, text = "would be undone", ""
        if not dry:
            try:
                step.undo(machine)
                result = "undone"
            except TwofoldError as error:
                result, text = "failed", str(error)
        outcomes.append(Outcome(step.name, step.says, result, text))
        tell(outcomes[-1])
    if not dry:
        machine.remove(RECORD)
    return outcomes


def _keep(machine: Machine, outcomes: Sequence[Outcome]) -> None:
    text = json.dumps({"at": time.time(), "steps": [asdict(o) for o in outcomes]}, indent=1)
    machine.write(RECORD, text + "\n", 0o600)


def wait(
    machine: Machine, bound_s: float, holds: Callable[[], bool], what: str, mend: str = ""
) -> None:
    """Until it holds; after `bound_s` it is a failure that can be continued later.

    A look starts a program: where that takes seconds (a small or busy machine) the pauses are
    longer too, for the processor belongs to what is waited for.
    """
    until_s = machine.now_s() + bound_s
    while True:
        asked_s = machine.now_s()
        if holds():
            return
        now_s = machine.now_s()
        if now_s >= until_s:
            raise StepFailed(f"after {bound_s:g} s it is still not so that {what}", mend)
        machine.sleep(max(PAUSE_S, PAUSE_PER_LOOK * (now_s - asked_s)))
