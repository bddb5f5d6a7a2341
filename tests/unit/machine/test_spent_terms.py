"""What a node asked the witness for, and what becomes of it when it is not used."""

from __future__ import annotations

from dataclasses import replace

from twofold.machine.arbitration import TERM_EPOCHS
from twofold.machine.events import ClaimAnswered, Look, PeerHeard
from twofold.machine.model import (
    REMEMBERED,
    Engine,
    Generation,
    Report,
    Settings,
    State,
    View,
    report,
)
from twofold.machine.notes import claimed_epoch
from twofold.machine.step import absorb, step
from twofold.wire import statefile

FIRST = TERM_EPOCHS
DATA = Generation(current="1", base="1", epoch=1)
SILENT_S = 14.0
LONELY = View(
    settings=Settings(node="b", peer="a", arbitration="witness"),
    state=State.SECOND,
    epoch=1,
    now_s=10.0,
    peer_heard_s=10.0,
    engine=Engine(role="secondary", up_to_date=True, generation=DATA),
    peer=Report(state=State.PRIM, epoch=1, generation=DATA),
)
HEARD = PeerHeard(Report(state=State.PRIM, epoch=1, generation=DATA))


def asks() -> View:
    """The primary is silent: the question is out."""
    view = LONELY
    for second in range(11, 15):  # at once would be a sleep
        view = absorb(view, Look(), float(second))
    view = step(view, Look()).view
    assert view.asking == FIRST
    return view


def other_asks_after(said: Report) -> int:
    """What the other node asks for when it has heard this and is alone then."""
    other = View(settings=Settings(node="a", peer="b", arbitration="witness"), epoch=1, peer=said)
    return claimed_epoch(other)


def test_what_is_asked_for_is_remembered_before_the_question_is_out() -> None:
    assert asks().asked_epoch == FIRST and "asked_epoch" in REMEMBERED


def test_while_it_may_be_given_the_other_asks_for_the_same() -> None:
    view = asks()
    assert (report(view).claimed, report(view).won) == (FIRST, FIRST)
    assert other_asks_after(report(view)) == FIRST
    view = absorb(view, HEARD, SILENT_S + 0.1)  # the question is still under way
    assert other_asks_after(report(view)) == FIRST
    view = absorb(view, ClaimAnswered(FIRST, None, text="no answer"), SILENT_S + 1)
    assert other_asks_after(report(replace(view, spent=0))) == FIRST
    assert claimed_epoch(view) == FIRST, "it may be the other's: the next one is not asked for"


def test_without_an_answer_and_after_the_other_was_heard_the_other_asks_for_the_next() -> None:
    view = absorb(asks(), ClaimAnswered(FIRST, None, text="no answer"), SILENT_S + 1)
    view = absorb(view, HEARD, SILENT_S + 2)
    assert (report(view).claimed, report(view).won) == (FIRST, 0)
    assert other_asks_after(report(view)) == 2 * FIRST


def test_what_the_other_counts_on_is_never_used() -> None:
    view = absorb(asks(), ClaimAnswered(FIRST, None, text="no answer"), SILENT_S + 1)
    view = absorb(view, HEARD, SILENT_S + 2)
    for second in range(17, 21):
        view = absorb(view, Look(), float(second))
    again = step(view, Look()).view
    assert again.asking == FIRST, "it may be the other's: what the witness says decides"
    told = absorb(again, ClaimAnswered(FIRST, True), 20.1)
    assert told.won == 0 and claimed_epoch(told) == 2 * FIRST


def test_a_machine_that_starts_again_uses_nothing_from_before() -> None:
    saved = statefile.encode(asks(), 1000.0)
    back = statefile.decode(saved, View(settings=LONELY.settings), "state.json", 1001.0)
    assert (report(back).claimed, report(back).won) == (FIRST, 0)
    told = absorb(replace(back, asking=FIRST), ClaimAnswered(FIRST, True), 1.0)
    assert told.won == 0 and claimed_epoch(told) == 2 * FIRST


def test_its_own_term_is_no_reason_to_ask_for_it_for_ever() -> None:
    """The other said that it may be given the term too, and then nothing more."""
    view = replace(LONELY, claimed=FIRST, peer=Report(state=State.PRIM, claimed=FIRST, won=FIRST))
    assert claimed_epoch(view) == 2 * FIRST
    assert claimed_epoch(replace(view, claimed=0)) == FIRST
