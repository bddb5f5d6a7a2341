"""What the ledger says about losses and outages is what a client lived through."""

from __future__ import annotations

from twofold.lab.ledger import Ledger


def ledger(*times_s: float) -> Ledger:
    made = Ledger()
    for number, at_s in enumerate(times_s, start=1):
        made.acknowledged(number, at_s)
    return made


def test_the_outage_is_the_longest_pause_that_touches_the_event() -> None:
    kept = ledger(0.0, 0.1, 0.2, 3.0, 3.1, 9.0, 9.1)
    assert kept.outage_s(0.15, 4.0) == 2.8
    assert kept.outage_s(0.3, 4.0) == 2.8, "the pause that began before the event counts whole"


def test_pauses_of_another_event_do_not_count() -> None:
    kept = ledger(0.0, 0.1, 3.0, 3.1, 3.2, 9.0)
    found = kept.outage_s(0.1, 3.15)
    assert found is not None
    assert abs(found - 2.9) < 1e-9


def test_without_a_write_after_the_event_there_is_no_figure() -> None:
    assert ledger(0.0, 0.1).outage_s(0.5, 10.0) is None
    assert ledger().outage_s(0.5, 10.0) is None


def test_lost_is_what_was_acknowledged_and_is_not_there() -> None:
    assert ledger(0, 1, 2).lost({1: "x", 3: "y", 4: "never acknowledged"}) == [2]


def test_reports_that_arrive_late_take_their_place() -> None:
    kept = Ledger()
    for number, at_s in ((1, 1.0), (3, 3.0), (2, 2.0)):
        kept.acknowledged(number, at_s)
    assert kept.numbers == [1, 2, 3]
    assert kept.count_until(2.0) == 2
