"""How often a probe must fail, and how often the module may try again."""

from __future__ import annotations

from twofold.machine.verdicts import Tally, count, recent


def test_counts_after_so_many_failures_in_a_row_and_again_after_as_many() -> None:
    tally = Tally(2)
    tripped: list[bool] = []
    for ok in (False, True, False, False, False, False, True, False):
        tally = count(tally, ok, "no connection")
        tripped.append(tally.tripped)
    assert tripped == [False, False, False, True, False, True, False, False]


def test_one_failure_below_the_threshold_is_not_shown_as_bad() -> None:
    tally = count(count(Tally(2), True, "fine"), False, "slow")
    assert tally.ok is True
    assert count(tally, False, "slow").ok is False


def test_loops_older_than_the_interval_are_forgotten() -> None:
    assert recent((1.0, 50.0, 99.0), 100.0, 60.0) == (50.0, 99.0)
