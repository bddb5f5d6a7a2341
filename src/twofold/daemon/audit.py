"""The audit: who asked for what, from where, and what came of it. Apart from the journal.

It has a database and a bound of its own, so that a noisy application cannot push out who stopped
it. Written by a thread in batches; every record also goes to standard error, and so to the
system's log. Looking is not recorded; changing is, and every refusal for want of a right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from twofold.errors import MachineError

ROWS_MAX = 20_000
WAITING_MAX = 1_000
SAME_WITHIN_S = 10.0
_COLUMNS = ("at", "who", "source", "via", "command", "module", "nodes", "result", "detail")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL,
    source TEXT NOT NULL, via TEXT NOT NULL, command TEXT NOT NULL, module TEXT NOT NULL,
    nodes TEXT NOT NULL, result TEXT NOT NULL, detail TEXT NOT NULL
);
"""

log = logging.getLogger("twofold.audit")


@dataclass(frozen=True)
class Record:
    at: float
    who: str
    source: str  # an address, or "this node"
    via: str  # "command line", "session", "token ID"
    command: str
    module: str = ""
    nodes: str = ""  # where it was asked for, when elsewhere than here
    result: str = "accepted"  # or refused, not permitted, failed
    detail: str = ""


def noted(said: Mapping[str, Any]) -> Record:
    """A record that the web process made itself: a login, and how it ended."""
    texts = {k: str(said.get(k) or "")[:200] for k in ("who", "source", "via", "result", "detail")}
    what = "logout" if said.get("what") == "logout" else "login"
    return Record(time.time(), command=what, **texts)


class Audit:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[Record] = deque(maxlen=WAITING_MAX)
        self._more = asyncio.Event()
        self._last: Record | None = None

    def write(self, record: Record) -> None:
        if self._is_repeated(record):
            return
        self._last = record
        where = f" on {record.nodes}" if record.nodes else ""
        what = f"{record.command} {record.module}".strip() + where
        detail = f": {record.detail}" if record.detail else ""
        log.info("%s (%s, %s): %s: %s%s", record.who, record.via, record.source, what,
                 record.result, detail)  # fmt: skip
        self._waiting.append(record)
        self._more.set()

    def _is_repeated(self, record: Record) -> bool:
        """A program that is refused again and again fills no journal."""
        last = self._last
        if last is None or record.result == "accepted" or record.at - last.at > SAME_WITHIN_S:
            return False
        return astuple(record)[1:] == astuple(last)[1:]

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
        if batch:
            try:
                await asyncio.to_thread(self._insert, batch)
            except (sqlite3.Error, OSError) as e:
                log.error("the audit %s cannot be written: %s", self._path, e)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=5.0)
        self._path.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_SCHEMA)
        return db

    def _insert(self, batch: Sequence[Record]) -> None:
        marks = ", ".join("?" for _ in _COLUMNS)
        with contextlib.closing(self._open()) as db, db:
            db.executemany(
                f"INSERT INTO audit ({', '.join(_COLUMNS)}) VALUES ({marks})",
                [astuple(record) for record in batch],
            )
            db.execute("DELETE FROM audit WHERE id <= (SELECT MAX(id) FROM audit) - ?", (ROWS_MAX,))

    async def read(self, limit: int) -> list[dict[str, Any]]:
        """The last `limit` records, oldest first."""
        await self._flush()
        try:
            return await asyncio.to_thread(self._select, limit)
        except sqlite3.Error as e:
            raise MachineError(f"the audit {self._path} cannot be read: {e}") from None

    def _select(self, limit: int) -> list[dict[str, Any]]:
        with contextlib.closing(self._open()) as db:
            rows = db.execute(
                f"SELECT id, {', '.join(_COLUMNS)} FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [dict(zip(("id", *_COLUMNS), row, strict=True)) for row in reversed(rows)]
