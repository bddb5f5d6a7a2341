"""What happened and why: in the system's journal or on standard error, and as a row in SQLite.

Bounded in three ways: rows, age, and bytes of the file. Each entry has a stable identifier
(`twofold.wire.event_codes`), a severity and a sentence. Written by a thread of its own in batches,
so that a slow disk never slows a decision. When the thread cannot follow, the oldest unwritten
lines are dropped and the loss is noted. A journal that cannot be written is said once; nothing else
fails because of it, and what waits to be written can be read all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twofold.adapters.journald import Journald, takes_our_stderr
from twofold.errors import MachineError
from twofold.wire.event_codes import decision_code

ROWS_MAX = 50_000
AGE_MAX_S = 400 * 86400.0
BYTES_MAX = 64 << 20
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
_COLUMNS = "at, module, severity, decision, state, event, after, actions, sentence, code"
_LATER_COLUMNS = {"code": "TEXT NOT NULL DEFAULT ''"}  # a journal of before gets them

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
    code: str = ""

    def named(self) -> Entry:
        """With an identifier; a decision's is made from what it decided."""
        if self.code:
            return self
        if self.decision:
            return replace(self, code=decision_code(self.state, self.then, self.event))
        return replace(self, code="module.note" if self.module else "node.note")


class Journal:
    """`listeners` are told each entry at once; they must not wait."""

    def __init__(self, path: Path, journald: Journald | None = None) -> None:
        self._path = path
        self._journald = journald
        self._said_by_stderr = takes_our_stderr()
        self.listeners: list[Callable[[Entry], None]] = []
        self._waiting: deque[Entry] = deque(maxlen=WAITING_MAX)
        self._more = asyncio.Event()
        self._complained = False
        self._since_trim = 0

    def write(self, entry: Entry) -> None:
        entry = entry.named()
        self._say(entry)
        self._waiting.append(entry)
        self._more.set()
        for listener in self.listeners:
            listener(entry)

    def _say(self, entry: Entry) -> None:
        """In the system's journal with its fields; where that is not, on standard error."""
        alarm = entry.severity == "alarm"
        where = f"{entry.module}: " if entry.module else ""
        fields = {
            "MESSAGE": f"{where}{_line(entry)}",
            "PRIORITY": "4" if alarm else "6",
            "SYSLOG_IDENTIFIER": "twofoldd",
            "TWOFOLD_EVENT": entry.code,
            "TWOFOLD_MODULE": entry.module,
            "TWOFOLD_SEVERITY": entry.severity,
        }
        told = self._journald is not None and self._journald.send(fields)
        if not (told and self._said_by_stderr):  # else it would be there twice
            log.log(logging.WARNING if alarm else logging.INFO, "%s%s", where, _line(entry))

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
            # For who reads, and for later; what is too much is dropped at the old end.
            self._waiting = deque((*batch, *self._waiting), WAITING_MAX)

    def _insert(self, batch: Sequence[Entry]) -> None:
        with contextlib.closing(self._open()) as db, db:
            db.executemany(
                f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                        e.code,
                    )
                    for e in batch
                ],
            )
            self._since_trim += len(batch)
            if self._since_trim >= _TRIM_EVERY_ROWS:
                self._since_trim = 0
                _trim(db, max(e.at for e in batch))

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=5.0)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        there = {row[1] for row in db.execute("PRAGMA table_info(entries)")}
        for name, kind in _LATER_COLUMNS.items():
            if name not in there:
                db.execute(f"ALTER TABLE entries ADD COLUMN {name} {kind}")
        return db

    async def read(
        self,
        module: str | None,
        limit: int,
        since: int = 0,
        decisions: bool = False,
        *,
        after_s: float = 0.0,
        severity: str | None = None,
    ) -> list[dict[str, Any]]:
        """The last `limit` entries after number `since` and moment `after_s`, oldest first."""
        await self._flush()
        where, values = ["id > ?", "at >= ?"], list[Any]([since, after_s])
        if module is not None:
            where.append("module = ?")
            values.append(module)
        if severity is not None:
            where.append("severity = ?")
            values.append(severity)
        if decisions:
            where.append("decision = 1")
        try:
            rows = await asyncio.to_thread(self._select, where, values, limit)
        except (sqlite3.Error, OSError) as e:
            # A disk that is full, read-only or dead: what nobody could write is what is asked for.
            waiting = list(self._waiting)
            if not waiting:
                raise MachineError(f"the journal {self._path} cannot be read: {e}") from None
            rows = []
        else:
            waiting = list(self._waiting)
        last = rows[-1]["id"] if rows else since
        for each in waiting:
            fits = module in (None, each.module) and severity in (None, each.severity)
            if fits and (each.decision or not decisions) and each.at >= after_s:
                last += 1
                rows.append({"id": last, **asdict(each), "decision": int(each.decision)})
        return rows[-limit:] if limit else []

    def _select(self, where: list[str], values: list[Any], limit: int) -> list[dict[str, Any]]:
        try:
            opened = self._open()
        except (sqlite3.Error, OSError):  # it can be read all the same where nothing can be written
            opened = sqlite3.connect(f"file:{quote(str(self._path))}?immutable=1", uri=True)
        with contextlib.closing(opened) as db:
            rows = db.execute(
                f"SELECT id, {_COLUMNS} FROM entries WHERE {' AND '.join(where)} "
                "ORDER BY id DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        names = ("id", "at", "module", "severity", "decision", "state", "event", "then")
        names += ("actions", "sentence", "code")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]


def _trim(db: sqlite3.Connection, now_s: float) -> None:
    db.execute("DELETE FROM entries WHERE id <= (SELECT MAX(id) FROM entries) - ?", (ROWS_MAX,))
    db.execute("DELETE FROM entries WHERE at < ?", (now_s - AGE_MAX_S,))
    pages, free, size = (
        int(db.execute(f"PRAGMA {what}").fetchone()[0])
        for what in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size > BYTES_MAX:  # sentences are longer than thought: a quarter goes
        db.execute(
            "DELETE FROM entries WHERE id <= "
            "(SELECT MIN(id) + (MAX(id) - MIN(id)) / 4 FROM entries)"
        )


def _line(entry: Entry) -> str:
    moved = f"{entry.state} -> {entry.then}: " if entry.state != entry.then else ""
    if entry.decision and not moved:
        moved = f"{entry.state}: "
    return moved + entry.sentence
