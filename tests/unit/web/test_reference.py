"""docs/reference/api.md is what the API says of itself."""

from __future__ import annotations

from pathlib import Path

from twofold.web.api import reference

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/api.md"


def test_the_api_reference_is_fresh() -> None:
    assert PAGE.read_text() == reference.page(), (
        "run: .venv/bin/python -m twofold.web.api.reference > docs/reference/api.md"
    )
