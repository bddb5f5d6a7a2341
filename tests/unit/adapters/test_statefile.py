"""The old file or the new one; numbers that never go back."""

from __future__ import annotations

from pathlib import Path

from twofold.adapters.statefile import StateFile, next_incarnation


async def test_written_and_read(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "files" / "state.json")
    assert file.read() is None
    await file.write(b"one")
    await file.write(b"two")
    assert file.read() == b"two"
    assert [p.name for p in (tmp_path / "files").iterdir()] == ["state.json"]


def test_an_incarnation_is_higher_also_when_the_clock_went_back(tmp_path: Path) -> None:
    path = tmp_path / "incarnation"
    first = next_incarnation(path, 1000.0)
    assert first == 1_000_000
    assert next_incarnation(path, 500.0) == first + 1
    path.write_text("damaged")
    assert next_incarnation(path, 2000.0) == 2_000_000
