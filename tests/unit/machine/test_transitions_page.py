"""docs/internals/transitions.md quotes rows and names stories that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twofold.machine.rules import TABLES

ROOT = Path(__file__).parents[3]
LINES = [
    line
    for line in (ROOT / "docs" / "internals" / "transitions.md").read_text().splitlines()
    if re.match(r"\| [TL]\d+ \|", line)
]
SENTENCES = {rule.because for table in TABLES.values() for rule in table}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_a_transition_quotes_rows_and_names_what_shows_it(line: str) -> None:
    row, shown = line.split(" | ")[3:5]
    for quoted in re.findall(r'"([^"]+)"', row):
        assert quoted in SENTENCES
    for name in re.findall(r"`([^`]+)`", shown):
        story = ROOT / "tests" / "scenarios" / "transcripts" / f"{name}.txt"
        assert story.is_file() or (ROOT / name).is_file(), name


def test_all_transitions_are_there() -> None:
    numbers = [line.split("|")[1].strip() for line in LINES]
    assert [n for n in numbers if n[0] == "T"] == [f"T{n}" for n in range(1, 23)]
