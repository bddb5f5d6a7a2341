"""Who may become primary: the truth table of docs/internals/interfaces.md."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from twofold.machine.model import Engine, Generation, Relation, Report, Settings, State, View
from twofold.machine.standing import Standing, prim_permitted, standing

DATA = Generation(current="00000000000000aa", role="secondary", epoch=3)


def view(
    mine: Generation | None,
    theirs: Generation | None = None,
    relation: Relation | None = None,
    node: str = "a",
) -> View:
    peer = "b" if node == "a" else "a"
    return View(
        settings=Settings(node=node, peer=peer),
        now_s=10.0,
        peer_heard_s=9.9 if theirs else 0.0,
        engine=Engine(generation=mine) if mine else None,
        peer=Report(state=State.WAIT, generation=theirs) if theirs else None,
        relation=relation,
    )


@pytest.mark.parametrize(
    ("mine", "answer"),
    [
        (None, Standing.NO_ENGINE),
        (Generation(), Standing.NO_DATA),
        (replace(DATA, sync_target=True, sole=True), Standing.HALF_COPY),
        (replace(DATA, outdated=True), Standing.OUTDATED),
        (DATA, Standing.NOT_SURE),
        (replace(DATA, sole=True), Standing.MAY_SERVE),
    ],
)
def test_without_hearing_the_peer(mine: Generation | None, answer: Standing) -> None:
    assert standing(view(mine)) is answer


@pytest.mark.parametrize(
    ("relation", "answer"),
    [
        (None, Standing.COMPARING),
        (Relation.MINE_NEWER, Standing.MAY_SERVE),
        (Relation.THEIRS_BLANK, Standing.MAY_SERVE),
        (Relation.THEIRS_NEWER, Standing.OLDER),
        (Relation.DIVERGED, Standing.BOTH_WENT_ON),
        (Relation.UNRELATED, Standing.STRANGERS),
    ],
)
def test_compared_with_the_peer(relation: Relation | None, answer: Standing) -> None:
    assert standing(view(DATA, DATA, relation)) is answer


def test_of_two_equals_exactly_one_may_serve() -> None:
    flags = [{}, {"outdated": True}, {"role": "primary"}, {"epoch": 4}, {"sole": True}]
    for left, right in itertools.product(flags, flags):
        a, b = replace(DATA, **left), replace(DATA, **right)
        answers = [
            standing(view(a, b, Relation.EQUAL, "a")),
            standing(view(b, a, Relation.EQUAL, "b")),
        ]
        assert answers.count(Standing.MAY_SERVE) == 1, (left, right, answers)


def test_the_last_primary_goes_first() -> None:
    last = replace(DATA, role="primary")
    assert standing(view(last, DATA, Relation.EQUAL, "b")) is Standing.MAY_SERVE
    assert standing(view(DATA, last, Relation.EQUAL, "a")) is Standing.OTHERS_TURN


Copy = tuple[Generation, bool, bool]
"""Its generation, whether it is whole, whether the node is well."""


def seen_by(node: str, mine: Copy, theirs: Copy) -> View:
    said = Report(state=State.WAIT, generation=theirs[0], trusted=theirs[1], unwell=not theirs[2])
    return replace(
        view(mine[0], theirs[0], Relation.EQUAL, node),
        engine=Engine(generation=mine[0], trusted=mine[1]),
        peer=said,
        unwell=() if mine[2] else ("gateway",),
    )


def begins(a: Copy, b: Copy) -> str:
    """Which of two equals serves."""
    views = (seen_by("a", a, b), seen_by("b", b, a))
    return " and ".join(v.settings.node for v in views if standing(v) is Standing.MAY_SERVE)


LAST = replace(DATA, role="primary")
MARKED = replace(DATA, outdated=True)


def test_of_equals_exactly_one_begins_whatever_is_known_of_them() -> None:
    kinds = list(itertools.product((DATA, LAST, MARKED), (True, False), (True, False)))
    for a, b in itertools.product(kinds, kinds):
        assert begins(a, b) in ("a", "b"), (a, b)


def test_a_checker_decides_only_where_nothing_can_be_lost() -> None:
    assert begins((DATA, True, True), (LAST, True, False)) == "a"
    assert begins((DATA, False, True), (LAST, False, False)) == "b"


def test_a_mark_counts_only_against_a_whole_copy() -> None:
    """Whoever writes alone begins another generation first, so equal ones lack nothing by it."""
    assert begins((LAST, True, True), (MARKED, True, True)) == "a"
    assert begins((LAST, False, True), (MARKED, True, True)) == "b"
    assert begins((LAST, False, True), (MARKED, False, True)) == "a"


def test_prim_is_permitted_on_blank_data_only_when_the_other_has_none_either() -> None:
    assert prim_permitted(view(Generation()))
    assert prim_permitted(view(Generation(), Generation(), Relation.BOTH_BLANK))
    assert not prim_permitted(view(Generation(), DATA, Relation.MINE_BLANK))
    assert not prim_permitted(view(Generation(), DATA, None))
    assert not prim_permitted(view(DATA))
