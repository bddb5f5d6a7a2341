"""What happened and why: one line on standard error, and one row in SQLite, bounded.

Written by a thread of its own in batches, so that a slow disk never slows a decision. When the
thread cannot follow, the oldest unwritten lines are dropped and the loss is noted. A journal that
cannot be written is said once; nothing else fails because of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.errors import MachineError

ROWS_MAX = 50_000
WAITING_MAX = 5_000
_TRIM_EVERY_ROWS = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, module TEXT NOT NULL,
    severity TEXT NOT NULL, decision INTEGER NOT NULL, state TEXT NOT NULL, event TEXT NOT NULL,
    after TEXT NOT NULL, actions TEXT NOT NULL, sentence TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_module ON entries (module, id);
"""
_COLUMNS = "at, module, severity, decision, state, event, after, actions, sentence"

log = logging.getLogger("twofold")


@dataclass(frozen=True)
class Entry:
    at: float  # seconds since 1970
    module: str  # "" for the node itself
    severity: str  # info, alarm
    sentence: str
    decision: bool = False
    state: str = ""
    event: str = ""
    then: str = ""
    actions: str = ""


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[Entry] = deque(maxlen=WAITING_MAX)
        self._more = asyncio.Event()
        self._complained = False
        self._since_trim = 0

    def write(self, entry: Entry) -> None:
        level = logging.WARNING if entry.severity == "alarm" else logging.INFO
        where = f"{entry.module}: " if entry.module else ""
        log.log(level, "%s%s", where, _line(entry))
        self._waiting.append(entry)
        self._more.set()

    async def run(self) -> None:
        """Writes until cancelled, then writes the rest."""
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                await self._flush()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await self._flush()

    async def _flush(self) -> None:
        batch = list(self._waiting)
        self._waiting.clear()
        if not batch:
            return
        try:
            await asyncio.to_thread(self._insert, batch)
            self._complained = False
        except (sqlite3.Error, OSError) as e:
            if not self._complained:
                log.error("the journal %s cannot be written: %s", self._path, e)
            self._complained = True

    def _insert(self, batch: Sequence[Entry]) -> None:
        with contextlib.closing(self._open()) as db, db:
            db.executemany(
                f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        e.at,
                        e.module,
                        e.severity,
                        int(e.decision),
                        e.state,
                        e.event,
                        e.then,
                        e.actions,
                        e.sentence,
                    )
                    for e in batch
                ],
            )
            self._since_trim += len(batch)
            if self._since_trim >= _TRIM_EVERY_ROWS:
                self._since_trim = 0
                db.execute(
                    "DELETE FROM entries WHERE id <= (SELECT MAX(id) FROM entries) - ?", (ROWS_MAX,)
                )

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=5.0)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        return db

    async def read(
        self, module: str | None, limit: int, since: int = 0, decisions: bool = False
    ) -> list[dict[str, Any]]:
        """The last `limit` entries after number `since`, oldest first."""
        await self._flush()
        try:
            return await asyncio.to_thread(self._select, module, limit, since, decisions)
        except sqlite3.Error as e:
            raise MachineError(f"the journal {self._path} cannot be read: {e}") from None

    def _select(
        self, module: str | None, limit: int, since: int, decisions: bool
    ) -> list[dict[str, Any]]:
        where, values = ["id > ?"], list[Any]([since])
        if module is not None:
            where.append("module = ?")
            values.append(module)
        if decisions:
            where.append("decision = 1")
        with contextlib.closing(self._open()) as db:
            rows = db.execute(
                f"SELECT id, {_COLUMNS} FROM entries WHERE {' AND '.join(where)} "
                "ORDER BY id DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        names = ("id", "at", "module", "severity", "decision", "state", "event", "then")
        names += ("actions", "sentence")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]


def _line(entry: Entry) -> str:
    moved = f"{entry.state} -> {entry.then}: " if entry.state != entry.then else ""
    if entry.decision and not moved:
        moved = f"{entry.state}: "
    return moved + entry.sentence
