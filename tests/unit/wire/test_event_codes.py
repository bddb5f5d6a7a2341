"""Every entry has an identifier that is explained, and the page about them is fresh."""

from __future__ import annotations

import re
from pathlib import Path

from twofold.machine import events
from twofold.machine.model import State
from twofold.wire.event_codes import CODES, decision_code, page

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_fresh() -> None:
    made = "run: .venv/bin/python -m twofold.wire.event_codes > docs/reference/events.md"
    assert (ROOT / "docs" / "reference" / "events.md").read_text() == page(), made


def test_each_state_and_each_event_of_the_machine_has_a_meaning() -> None:
    names = [
        n
        for n, c in vars(events).items()
        if isinstance(c, type) and c.__module__ == events.__name__
    ]
    for name in names:
        assert decision_code("PRIM", "PRIM", name) in CODES, name
    for state in State:
        assert decision_code("", state.value, "Look") in CODES


def test_codes_in_the_source_are_explained() -> None:
    used: set[str] = set()
    for file in (ROOT / "src" / "twofold").rglob("*.py"):
        pattern = r'"((?:node|network|witness|config|certificate|keys|notify)\.[a-z_]+)"'
        if "daemon" in file.parts:
            used |= set(re.findall(pattern, file.read_text()))
    names = {c for c in used if not c.endswith((".toml", ".crt", ".key", ".json"))}
    assert names <= set(CODES) and names
