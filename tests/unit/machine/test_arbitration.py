"""Terms, claims and majorities, as a person would check them on paper."""

from __future__ import annotations

import itertools

import pytest

from twofold.machine.actions import BecomePrimary, BecomeSecondary, ContinueAlone
from twofold.machine.arbitration import (
    NOBODY,
    TERM_EPOCHS,
    Answer,
    Claim,
    decide,
    first_epoch,
    ruling,
    term_of,
)
from twofold.machine.events import JobFailed, PeerHeard
from twofold.machine.model import Engine, Job, Report, Settings, State, View, report
from twofold.machine.notes import claimed_epoch
from twofold.machine.step import absorb, step


def test_an_agreed_epoch_is_never_the_first_of_a_term() -> None:
    assert term_of(1) == term_of(TERM_EPOCHS - 1) == 0
    assert first_epoch(3) == 3 * TERM_EPOCHS and term_of(first_epoch(3) + 17) == 3


@pytest.mark.parametrize(
    ("stored", "asked", "won"),
    [
        (NOBODY, Claim(1, "a"), True),
        (Claim(1, "a"), Claim(1, "a"), True),  # the answer was lost, the question comes again
        (Claim(1, "a"), Claim(1, "b"), False),
        (Claim(2, "b"), Claim(1, "b"), False),  # asked before, and heard now
        (Claim(2, "b"), Claim(3, "a"), True),
        (Claim(1, "b"), Claim(4, "a"), True),  # this witness was away for a while
    ],
)
def test_the_first_to_claim_a_term_has_it(stored: Claim, asked: Claim, won: bool) -> None:
    answer = decide(stored, asked)
    assert answer == Answer(won, asked if won else stored)


def test_in_any_order_of_questions_a_term_has_one_holder() -> None:
    questions = [Claim(1, "a"), Claim(1, "b"), Claim(1, "a"), Claim(2, "b"), Claim(2, "a")]
    for order in itertools.permutations(questions):
        stored, holders = NOBODY, dict[int, set[str]]()
        for asked in order:
            answer = decide(stored, asked)
            stored = answer.stored
            if answer.won:
                holders.setdefault(asked.term, set()).add(asked.holder)
        assert all(len(h) == 1 for h in holders.values()), order


A1, B1 = Claim(1, "a"), Claim(1, "b")
YES, NO = Answer(True, A1), Answer(False, B1)


@pytest.mark.parametrize(
    ("answers", "won", "holder"),
    [
        ([YES], True, "a"),
        ([NO], False, "b"),
        ([None], None, ""),
        ([YES, YES, NO], True, "a"),
        ([YES, NO, NO], False, "b"),
        ([YES, YES, None], True, "a"),
        ([YES, NO, None], None, ""),
        ([YES, None, None], None, ""),
        ([NO, None, None], None, ""),
        ([YES, None], None, ""),  # two witnesses are no better than one: both are needed
        ([YES, YES], True, "a"),
    ],
)
def test_a_majority_of_all_witnesses_decides(
    answers: list[Answer | None], won: bool | None, holder: str
) -> None:
    said = ruling(A1, answers, len(answers))
    assert (said.won, said.holder) == (won, holder)
    assert (said.text == "") == (won is not None)


def test_two_nodes_never_both_win_whatever_each_hears() -> None:
    """Three witnesses, every order in which the questions arrive, every answer lost or not."""
    for firsts in itertools.product("ab", repeat=3):
        stored = [Claim(1, f) for f in firsts]
        wins = 0
        for name in "ab":
            asked = Claim(1, name)
            full = [decide(s, asked) for s in stored]
            wins += any(
                ruling(asked, [a if h else None for a, h in zip(full, heard, strict=True)], 3).won
                for heard in itertools.product((True, False), repeat=3)
            )
        assert wins < 2, firsts


@pytest.mark.parametrize("claimed", [0, 1_000_000])
def test_a_failed_hand_over_takes_no_epoch_of_a_term_that_the_other_has_won(claimed: int) -> None:
    view = View(
        settings=Settings(arbitration="witness"),
        state=State.PRIM,
        job=Job.HANDING_OVER,
        now_s=5.0,
        peer_heard_s=5.0,
        epoch=1,
        engine=Engine(role="primary", epoch=1),
        peer=Report(state=State.SECOND, claimed=claimed, won=claimed),
    )
    event = JobFailed(Job.HANDING_OVER, BecomeSecondary(), "link_lost", "the link is gone")
    decision = step(absorb(view, event, 5.1), event)
    serves = [a for a in decision.do if isinstance(a, BecomePrimary)]
    assert decision.view.state is (State.WAIT if claimed else State.PRIM)
    assert bool(serves) is not bool(claimed)


@pytest.mark.parametrize(("theirs", "begins"), [(5, None), (9, 10)])
def test_a_follower_that_has_seen_a_later_epoch_is_let_in(theirs: int, begins: int | None) -> None:
    """A person had this node serve while the other, of a later epoch, was dead."""
    alone = Engine(role="primary", epoch=5, alone=True, up_to_date=True)
    view = View(state=State.ALONE, epoch=5, alone_epoch=5, now_s=10.0, engine=alone)
    event = PeerHeard(Report(state=State.SECOND, epoch=theirs))
    decision = step(absorb(view, event, 10.1), event)
    assert decision.view.state is State.ALONE
    begun = [a.epoch for a in decision.do if isinstance(a, ContinueAlone)]
    assert begun == ([begins] if begins else [])


@pytest.mark.parametrize(("usable", "asked"), [(0, 2), (1, 1)])
def test_a_term_that_the_other_may_still_use_is_asked_for_too(usable: int, asked: int) -> None:
    """A higher one would be given, and both would serve; this one, the witness says, is taken."""
    view = View(
        settings=Settings(arbitration="witness"),
        state=State.PRIM,
        now_s=10.0,
        epoch=3,
        peer=Report(state=State.SECOND, claimed=first_epoch(1), won=first_epoch(usable)),
    )
    assert claimed_epoch(view) == first_epoch(asked)


def test_who_has_won_a_term_says_so_until_it_hears_the_other() -> None:
    view = View(won=first_epoch(1), claimed=first_epoch(1))
    assert report(view).won == first_epoch(1)
    event = PeerHeard(Report(state=State.PRIM))
    assert report(absorb(view, event, 1.0)).won == 0
