"""The whole table: every state, every event, one decision. Order matters only within one state.

`rules_stopped` has STOP, `rules_waiting` WAIT (who may begin to serve), `rules_serving` and
`rules_handover` ALONE and PRIM (keep serving, hand over, stop), `rules_following` SECOND (copy,
take over). The last rows here say, for whatever no row above speaks of, that nothing needs to be
done, or that it is refused. Light modules have a table of their own, `rules_light`.
"""

from __future__ import annotations

from twofold.machine.events import (
    FACTS,
    AsideFailed,
    CheckerTripped,
    Found,
    JobDone,
    JobFailed,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    ServiceExited,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import Kind
from twofold.machine.notes import TROUBLE
from twofold.machine.rule import ANY, Answer, Rule, Severity
from twofold.machine.rules_following import FOLLOWING
from twofold.machine.rules_light import LIGHT_RULES
from twofold.machine.rules_serving import SERVING_RULES
from twofold.machine.rules_stopped import STOPPED
from twofold.machine.rules_waiting import WAITING

OTHERWISE: tuple[Rule, ...] = (
    Rule(
        given=ANY,
        on=(PrimAsked, SwapAsked, RestartAsked, SecondAsked, StartAsked, StopAsked),
        answer=Answer.REFUSE,
        because="not possible now: {node} is {job}",
    ),
    Rule(
        given=ANY,
        on=(JobDone,),
        ends_job=True,
        severity=Severity.QUIET,
        because="done",
    ),
    Rule(
        given=ANY,
        on=(JobFailed,),
        ends_job=True,
        sets=(TROUBLE,),
        severity=Severity.ALARM,
        because="this did not succeed: {text}",
    ),
    Rule(
        given=ANY,
        on=(AsideFailed,),
        sets=(TROUBLE,),
        severity=Severity.ALARM,
        because="this did not succeed: {text}",
    ),
    Rule(
        given=ANY,
        on=(ServiceExited, CheckerTripped),
        severity=Severity.INFO,
        because="{what} failed ({text}); nothing follows: {node} is {job}",
    ),
    Rule(
        given=ANY,
        on=(Found,),
        severity=Severity.QUIET,
        because="already at work",
    ),
    Rule(
        given=ANY,
        on=FACTS,
        severity=Severity.QUIET,
        because="nothing to do",
    ),
)

RULES: tuple[Rule, ...] = (*STOPPED, *WAITING, *SERVING_RULES, *FOLLOWING, *OTHERWISE)

TABLES: dict[Kind, tuple[Rule, ...]] = {Kind.MIRROR: RULES, Kind.LIGHT: LIGHT_RULES}
"""The table of each kind of module; a farm has none yet."""
