"""The reference page of the states, made from the rows: table, diagram and sentences cannot drift.

`docs/reference/states.md` is this text; a test compares. `TWOFOLD_REWRITE=1 pytest
tests/unit/machine/test_page.py` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from twofold.machine.actions import label
from twofold.machine.events import FACTS
from twofold.machine.model import LIGHT_STATES, MIRROR_STATES, State
from twofold.machine.rule import Answer, Rule, Severity
from twofold.machine.rules import RULES
from twofold.machine.rules_light import LIGHT_RULES

_HEAD = """# States of a mirror module

Made from the rules in `src/twofold/machine/`; do not edit.

| state | meaning |
| --- | --- |
| STOP | not started on this node |
| WAIT | started, and waiting: for the other node, for newer data, for a failure to pass |
| ALONE | serving; the other node has no current copy |
| PRIM | serving; each write is on both nodes |
| SECOND | following; when its copy is current it takes over from a lost primary |

Readiness: *Ready*: as it should be. *Transient*: something is being done or copied, and passes by
itself. *NotReady*: waiting for the world or a person. `twofold why MODULE` shows which of the rows
below was taken, and when.
"""


_LIGHT = """# Light modules

A light module runs on each node that starts it, by itself: start, check, restart.

| state | meaning |
| --- | --- |
| STOP | not started on this node |
| WAIT | started, and waiting: for a checker with the action wait, or a while after a failure |
| UP | running |
"""


def states_page() -> str:
    parts = [_HEAD, "## Transitions\n", _diagram(RULES), "## Every decision\n", _intro()]
    parts += _tables("", MIRROR_STATES, RULES)
    parts += [_LIGHT, _diagram(LIGHT_RULES)]
    parts += _tables("Light: ", LIGHT_STATES, LIGHT_RULES)
    return "\n".join(parts)


def _tables(prefix: str, states: tuple[State, ...], rules: tuple[Rule, ...]) -> Iterator[str]:
    for state in states:
        yield f"### {prefix}{state.value}\n"
        yield "\n".join(_table(state, rules)) + "\n"


def _intro() -> str:
    return (
        "Rows are tried from the top; the first whose condition holds is taken. *news* stands for "
        "a heartbeat, a status of the engine, a timer, or the end of another decision.\n"
    )


def _diagram(rules: tuple[Rule, ...]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> STOP"]
    lines += sorted({f"    {a} --> {b}" for a, b in transitions(rules)})
    return "\n".join([*lines, "```", ""])


def transitions(rules: tuple[Rule, ...] = RULES) -> Iterator[tuple[str, str]]:
    """Every change of state that some row makes."""
    for rule in rules:
        for given in rule.given:
            if rule.then is not None and rule.then is not given:
                yield given.value, rule.then.value


def _table(state: State, rules: tuple[Rule, ...]) -> Iterator[str]:
    yield "| on | when | then | do | because |"
    yield "| --- | --- | --- | --- | --- |"
    for rule in rules:
        if state not in rule.given:
            continue
        yield "| " + " | ".join(_cells(rule)) + " |"


def _cells(rule: Rule) -> tuple[str, str, str, str, str]:
    then = rule.then.value if rule.then else ""
    if rule.answer in (Answer.REFUSE, Answer.REFUSE_UNLESS_FORCED):
        then = f"{then} (refused)".strip()
    do = ", ".join(label(a) for a in rule.do)
    if rule.job is not None and rule.instead:
        do = f"{do} (instead of what runs)"
    alarm = "**alarm**: " if rule.severity is Severity.ALARM else ""
    when = rule.when.name if rule.when else ""
    return _events(rule.on), when, then, do, alarm + rule.because.replace("|", "or")


def _events(on: tuple[type, ...]) -> str:
    names = [e.__name__ for e in on if e not in FACTS]
    if set(FACTS) <= set(on):
        names.append("news")
    return ", ".join(names)
