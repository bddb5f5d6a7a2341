"""The failure catalogue names what shows each row; what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "internals" / "failures.md"
ROWS = [
    line
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| failure", "| what they do"))
]
KEPT = {
    line.split()[0]
    for line in (ROOT / "tests/sim/seeds.txt").read_text().splitlines()
    if line and not line.startswith("#")
}
STORIES = {path.stem for path in (ROOT / "tests/scenarios/transcripts").iterdir()}


def shown_by(row: str) -> str:
    return row.rstrip("| ").rsplit("|", 1)[-1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_row_names_what_shows_it_and_that_is_there(row: str) -> None:
    shown = shown_by(row)
    assert re.search(r"\bsim\b|story|stories|`tests/", shown), row
    for path, test in re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", shown):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path} has no {test}"
    for seeds in re.findall(r"kept seeds? ([\d, and]+)", shown):
        assert set(re.findall(r"\d+", seeds)) <= KEPT, seeds
    for names in re.findall(r"(?:story|stories) ((?:`[\w*]+`(?:, | and )?)+)", shown):
        for name in re.findall(r"`([\w*]+)`", names):
            assert any(re.fullmatch(name.replace("*", ".*"), s) for s in STORIES), name
