"""`replace` is `dataclasses.replace`, only faster."""

from __future__ import annotations

import dataclasses

import pytest

from twofold.machine.changed import replace
from twofold.machine.model import State, View


def test_it_makes_what_dataclasses_replace_makes() -> None:
    before = View(now_s=3.0, epoch=7)
    after = replace(before, state=State.PRIM, epoch=8)
    assert after == dataclasses.replace(before, state=State.PRIM, epoch=8)
    assert (before.state, before.epoch) == (State.STOP, 7)


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TypeError, match="View has no epok"):
        replace(View(), epok=8)


def test_the_copy_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        replace(View(), epoch=8).epoch = 9  # pyright: ignore[reportAttributeAccessIssue]
