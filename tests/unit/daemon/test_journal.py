"""The journal is bounded, ordered, and its failure is nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
from pathlib import Path

import pytest

from twofold.adapters.journald import Journald
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


async def test_each_entry_has_an_identifier(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    heard: list[str] = []
    journal.listeners.append(lambda e: heard.append(e.code))
    moved = Entry(1.0, "files", "alarm", "x", True, "SECOND", "PeerHeard", "ALONE")
    journal.write(moved)
    journal.write(Entry(2.0, "files", "info", "x", True, "PRIM", "CheckerTripped", "PRIM"))
    journal.write(Entry(3.0, "", "info", "x", code="network.heard"))
    rows = await journal.read(None, 10)
    assert [r["code"] for r in rows] == heard
    assert heard == ["state.alone", "decision.checker_tripped", "network.heard"]
    assert [r["id"] for r in await journal.read(None, 10, severity="alarm")] == [1]
    assert [r["id"] for r in await journal.read(None, 10, after_s=2.5)] == [3]


async def test_a_journal_of_before_is_read_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executescript(
            "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, module "
            "TEXT NOT NULL, severity TEXT NOT NULL, decision INTEGER NOT NULL, state TEXT NOT NULL,"
            " event TEXT NOT NULL, after TEXT NOT NULL, actions TEXT NOT NULL, sentence TEXT NOT "
            "NULL); INSERT INTO entries VALUES (1, 1.0, 'files', 'info', 0, '', '', '', '', 'old')"
        )
    journal = Journal(file)
    journal.write(entry(2))
    assert [r["sentence"] for r in await journal.read(None, 10)] == ["old", "sentence 2"]


async def test_old_and_long_ones_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRIM_EVERY_ROWS", 10)
    monkeypatch.setattr(module, "BYTES_MAX", 200_000)
    journal = Journal(tmp_path / "journal.sqlite")
    now = 500 * 86400.0
    journal.write(Entry(1.0, "", "info", "too old"))
    for i in range(100):
        journal.write(Entry(now + i, "", "info", f"{i} {'x' * 10_000}"))
        if i % 10 == 9:
            await journal.read(None, 1)
    rows = await journal.read(None, 1000)
    assert rows[-1]["sentence"].startswith("99 ")
    assert 5 < len(rows) < 40


async def test_the_systems_journal_gets_fields(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(str(tmp_path / "socket"))
        there.settimeout(5)
        journal = Journal(tmp_path / "journal.sqlite", Journald(tmp_path / "socket"))
        journal.write(Entry(1.0, "files", "alarm", "two\nlines", code="module.note"))
        got = there.recv(65536)
    assert got.startswith(b"MESSAGE\n" + (16).to_bytes(8, "little") + b"files: two\nlines\n")
    assert b"\nPRIORITY=4\n" in got and b"\nTWOFOLD_EVENT=module.note\n" in got
    assert not Journald(tmp_path / "nothing").send({"MESSAGE": "x"})


async def test_what_cannot_be_written_can_be_read_and_is_written_later(tmp_path: Path) -> None:
    """Somebody asks why, while the disk is the reason."""
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.write(entry(1))
    await journal.read(None, 1)
    path.rename(tmp_path / "aside")
    path.mkdir()  # nobody, root neither, opens this as a database
    journal.write(entry(2, decision=True))
    journal.write(entry(3, of="other"))
    rows = await journal.read("files", 10, decisions=True)
    assert [r["sentence"] for r in rows] == ["sentence 2"]
    path.rmdir()
    (tmp_path / "aside").rename(path)
    rows = await Journal(path).read(None, 10)
    assert [r["sentence"] for r in rows] == ["sentence 1"]
    journal.write(entry(4))
    rows = await journal.read(None, 10)
    assert [r["sentence"] for r in rows] == [f"sentence {n}" for n in (1, 2, 3, 4)]


async def test_of_too_much_that_cannot_be_written_the_oldest_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    path = tmp_path / "journal.sqlite"
    path.mkdir()
    journal = Journal(path)
    for number in range(3):
        journal.write(entry(number))
    asked = asyncio.create_task(journal.read(None, 10))
    await asyncio.sleep(0)  # the three are being written, in vain
    journal.write(entry(3))
    rows = await asked
    assert [r["sentence"] for r in rows] == ["sentence 1", "sentence 2", "sentence 3"]
