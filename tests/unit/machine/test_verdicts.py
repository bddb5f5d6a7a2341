"""How often a probe must fail, when it is well again, flapping, how often to try again."""

from __future__ import annotations

import pytest

from twofold.machine.verdicts import Tally, changes, count, recent

# g: a good probe, b: a bad one. Verdict after each: "-" none yet, "+" well, "x" bad, "!" bad and
# it counts just now.
TABLE = [
    # failures, successes, probes, verdicts
    (1, 1, "gbgb", "+!+!"),
    (1, 1, "bb", "!!"),
    (2, 1, "gbgbb", "++++!"),  # one good probe forgets all
    (2, 1, "b", "-"),
    (2, 1, "bbbbg", "-!x!+"),  # it counts again after as many more
    (2, 1, "bbbgb", "-!x++"),
    (3, 1, "bbgbbb", "--+++!"),
    (2, 2, "gbgb", "+++!"),  # one good probe is not enough to forget
    (2, 2, "gbggb", "+++++"),  # two are
    (2, 2, "bbgg", "-!x+"),  # well again after two
    (2, 2, "bbgbgg", "-!xxx+"),
    (2, 2, "bbgbb", "-!xx!"),  # the single good one did not set it back
    (1, 3, "bggg", "!xx+"),
    (1, 3, "gg", "++"),  # never bad: the first good one is enough
]


@pytest.mark.parametrize(("failures", "successes", "probes", "verdicts"), TABLE)
def test_truth_table(failures: int, successes: int, probes: str, verdicts: str) -> None:
    tally, seen = Tally(failures, successes), ""
    for probe in probes:
        tally = count(tally, probe == "g", probe)
        seen += "!" if tally.tripped else {None: "-", True: "+", False: "x"}[tally.ok]
        assert tally.text == probe
    assert seen == verdicts


def after(tally: Tally, probes: str) -> tuple[Tally, int]:
    """The tally, and how often it counted."""
    trips = 0
    for probe in probes:
        tally = count(tally, probe == "g", "")
        trips += tally.tripped
    return tally, trips


def test_a_checker_that_comes_and_goes_is_unsteady_and_damped() -> None:
    tally, trips = after(Tally(2), "gbgbgbgb")
    assert (tally.unsteady, trips) == (False, 0)  # seven changes
    tally, trips = after(tally, "g")
    assert (tally.unsteady, trips) == (True, 0)
    tally, trips = after(tally, "bbb")
    assert trips == 0  # three are not enough now
    tally, trips = after(tally, "b")
    assert trips == 1 and tally.ok is False


def test_unsteady_takes_twice_as_long_to_be_well() -> None:
    tally, _ = after(Tally(1, 1), "gbgbgbgbgb")
    assert tally.unsteady
    tally, trips = after(tally, "bb")
    assert trips >= 1 and tally.ok is False
    assert after(tally, "g")[0].ok is False
    assert after(tally, "gg")[0].ok is True


def test_it_is_steady_again_when_the_changes_have_left_the_window() -> None:
    tally, _ = after(Tally(2), "gbgbgbgbgb")
    assert tally.unsteady
    tally, _ = after(tally, "g" * 13)
    assert tally.unsteady  # between the two limits it stays as it is
    tally, _ = after(tally, "g" * 7)
    assert not tally.unsteady and changes(tally.outcomes) == 0


def test_a_steady_failure_is_never_unsteady() -> None:
    tally, trips = after(Tally(2), "gggg" + "b" * 40)
    assert not tally.unsteady and trips == 20


def test_loops_older_than_the_interval_are_forgotten() -> None:
    assert recent((1.0, 50.0, 99.0), 100.0, 60.0) == (50.0, 99.0)
