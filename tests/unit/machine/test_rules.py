"""The table itself: everything is decided, nothing is shadowed, every order is safe."""

from __future__ import annotations

import itertools

import pytest

from twofold.machine.actions import (
    Action,
    BecomePrimary,
    HoldAddress,
    ReleaseAddress,
    StartApplication,
    StopApplication,
)
from twofold.machine.events import EVENTS, JobDone, JobFailed
from twofold.machine.model import LIGHT_STATES, MIRROR_STATES, Kind, State
from twofold.machine.rule import Answer, Rule
from twofold.machine.rules import TABLES


def rows(state: State, event: type, kind: Kind = Kind.MIRROR) -> list[Rule]:
    return [r for r in TABLES[kind] if state in r.given and event in r.on]


STATES = {Kind.MIRROR: MIRROR_STATES, Kind.LIGHT: LIGHT_STATES}
PAIRS = [
    (kind, state, event)
    for kind in TABLES
    for state, event in itertools.product(STATES[kind], EVENTS)
]
ALL_RULES = [rule for table in TABLES.values() for rule in table]


def settles(rule: Rule) -> bool:
    """The row fits whatever the view is."""
    return rule.when is None and (
        rule.job is None or rule.instead or set(rule.on) <= {JobDone, JobFailed}
    )


@pytest.mark.parametrize(
    ("kind", "state", "event"),
    PAIRS,
    ids=lambda x: x.value if isinstance(x, State | Kind) else x.__name__,
)
def test_every_event_in_every_state_ends_in_an_unconditional_row(
    kind: Kind, state: State, event: type
) -> None:
    assert settles(rows(state, event, kind)[-1])


def test_no_row_is_shadowed_everywhere_by_an_unconditional_one_above() -> None:
    reachable: set[int] = set()
    for kind, state, event in PAIRS:
        for rule in rows(state, event, kind):
            reachable.add(id(rule))
            if settles(rule):
                break
    shadowed = [r for r in ALL_RULES if id(r) not in reachable]
    assert shadowed == []


def test_the_end_of_a_job_always_frees_the_module() -> None:
    for rule in ALL_RULES:
        if set(rule.on) & {JobDone, JobFailed}:
            assert rule.ends_job or rule.job is not None, rule.because


def test_actions_of_a_job_are_never_beside_it() -> None:
    """Only short and safe actions run without a job."""
    beside = {type(a).__name__ for r in ALL_RULES if r.job is None for a in r.do}
    assert beside <= {"ContinueAlone", "AnnounceAddress", "AskRelation", "Outdate", "ClaimEpoch"}


def order(do: tuple[Action, ...], kinds: tuple[type, ...]) -> list[str]:
    return [type(a).__name__ for a in do if isinstance(a, kinds)]


def test_serving_begins_engine_then_address_then_application() -> None:
    for rule in ALL_RULES:
        starts = any(isinstance(a, StartApplication) and a.side == "primary" for a in rule.do)
        names = order(rule.do, (BecomePrimary, HoldAddress))
        if starts and any(isinstance(a, BecomePrimary) for a in rule.do):
            assert names == ["BecomePrimary", "HoldAddress"], rule.because
            app = next(
                i
                for i, a in enumerate(rule.do)
                if isinstance(a, StartApplication) and a.side == "primary"
            )
            assert app > rule.do.index(HoldAddress()), rule.because


def test_leaving_stops_the_application_before_the_address_and_a_loser_the_address_first() -> None:
    for rule in ALL_RULES:
        served = {State.ALONE, State.PRIM} & set(rule.given)
        if not served or ReleaseAddress() not in rule.do:
            continue
        if StopApplication("primary") not in rule.do:
            continue
        address, app = rule.do.index(ReleaseAddress()), rule.do.index(StopApplication("primary"))
        lost = "gives up" in rule.because or "stops serving" in rule.because
        broken = "engine" in rule.because
        assert (address < app) if lost else (app < address or broken), rule.because


def test_every_sentence_names_no_internals() -> None:
    for rule in ALL_RULES:
        assert rule.because and not rule.because.endswith("."), rule.because
        assert "View" not in rule.because


def test_a_refusal_that_names_the_forced_word_says_so_as_data() -> None:
    said = {r.because for r in ALL_RULES if "prim --yes" in r.because and r.answer is not None}
    typed = {r.because for r in ALL_RULES if r.answer is Answer.REFUSE_UNLESS_FORCED}
    assert said == typed and said
