"""The page of the states is what the rows say."""

from __future__ import annotations

import os
from pathlib import Path

from twofold.machine.page import states_page, transitions

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "states.md"


def test_the_page_is_fresh() -> None:
    if os.environ.get("TWOFOLD_REWRITE"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(states_page())
    assert PAGE.read_text() == states_page()


def test_the_diagram_has_the_transitions_of_a_mirror() -> None:
    """T1 to T15 of the product we follow (safekit.md 1.6), by their ends."""
    wanted = {
        ("STOP", "WAIT"),
        ("WAIT", "STOP"),
        ("WAIT", "ALONE"),
        ("WAIT", "PRIM"),
        ("WAIT", "SECOND"),
        ("ALONE", "PRIM"),
        ("PRIM", "ALONE"),
        ("SECOND", "ALONE"),
        ("SECOND", "WAIT"),
        ("PRIM", "SECOND"),
        ("SECOND", "PRIM"),
        ("PRIM", "WAIT"),
        ("ALONE", "WAIT"),
    }
    assert wanted <= set(transitions())
