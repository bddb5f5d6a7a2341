"""The plan of a torture comes from its seed alone."""

from __future__ import annotations

from twofold.lab.plan import draw_plan


def test_the_same_seed_is_the_same_plan() -> None:
    assert draw_plan(7, 20) == draw_plan(7, 20)
    assert draw_plan(7, 20) != draw_plan(8, 20)


def test_all_kinds_occur_and_the_ends_are_take_overs() -> None:
    for seed in range(50):
        plan = draw_plan(seed, 20)
        assert len(plan) == 20
        assert plan[0].kind == plan[-1].kind == "ready"
    kinds = [cut.kind for seed in range(50) for cut in draw_plan(seed, 20)]
    assert 0.1 < kinds.count("resync") / len(kinds) < 0.3
    assert 0.05 < kinds.count("blink") / len(kinds) < 0.25
    assert [cut.kind for cut in draw_plan(3, 1)] == ["ready"]
