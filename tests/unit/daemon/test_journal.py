"""The journal is bounded, ordered, and its failure is nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.daemon import journal as module
from twofold.daemon.journal import Entry, Journal


def entry(number: int, of: str = "files", decision: bool = False) -> Entry:
    return Entry(float(number), of, "info", f"sentence {number}", decision=decision)


async def test_reads_the_last_ones_oldest_first_and_since(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    for i in range(5):
        journal.write(entry(i, "files" if i % 2 else "other"))
    rows = await journal.read(None, 3)
    assert [r["sentence"] for r in rows] == ["sentence 2", "sentence 3", "sentence 4"]
    newer = await journal.read("files", 10, since=rows[0]["id"])
    assert [r["sentence"] for r in newer] == ["sentence 3"]


async def test_old_rows_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 20)
    monkeypatch.setattr(module, "_TRIM_EVERY_ROWS", 10)
    journal = Journal(tmp_path / "journal.sqlite")
    for i in range(100):
        journal.write(entry(i))
        if i % 10 == 9:
            await journal.read(None, 1)
    rows = await journal.read(None, 1000)
    assert len(rows) == 20 and rows[-1]["sentence"] == "sentence 99"


async def test_a_journal_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "journal.sqlite")
    journal.write(entry(1))
    await journal._flush()  # pyright: ignore[reportPrivateUsage]
