"""One row of the table: given a state, on an event, when a guard holds, then decide so, because.

Rows are tried from the top; the first that fits wins; for each (state, event) the last row has no
guard (a test shows it). `job` says how the actions are performed:

- `job=None`: beside whatever runs (alarm, `continue alone`): short, and safe at any moment;
- `job=J`: as the one job of this module. Such a row fits only while no job runs, except that
  `instead=True` ends the running one first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from twofold.machine.actions import Action
from twofold.machine.guards import Guard
from twofold.machine.model import MIRROR_STATES, Job, State
from twofold.machine.notes import Note


class Answer(Enum):
    """What the person who gave a command is told."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    REFUSE_UNLESS_FORCED = "refuse unless forced"  # a person who knows what is lost may overrule it


class Severity(Enum):
    QUIET = "quiet"  # nothing happened: not in the journal
    INFO = "info"
    ALARM = "alarm"


ANY: tuple[State, ...] = MIRROR_STATES


@dataclass(frozen=True)
class Rule:
    given: tuple[State, ...]
    on: tuple[type, ...]
    because: str
    when: Guard | None = None
    then: State | None = None  # None: as it is
    job: Job | None = None
    do: tuple[Action, ...] = ()
    sets: tuple[Note, ...] = ()
    instead: bool = False
    ends_job: bool = False  # the running job is cancelled or over, and no other begins
    answer: Answer | None = None
    severity: Severity = Severity.INFO
