"""What a witness must never forget: for each module of each cluster, the last term and its holder.

One SQLite file; an answer is given only when its claim is on disk (`synchronous = FULL`). A claim
costs one small transaction, and there is one only when nodes lose each other.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from twofold.errors import MachineError, PeerRefused
from twofold.machine.arbitration import NOBODY, Answer, Claim, decide

MODULES_MAX = 1000  # of one cluster
_BUSY_S = 2.0
_TABLE = """
CREATE TABLE IF NOT EXISTS claims (
    cluster TEXT NOT NULL, module TEXT NOT NULL, term INTEGER NOT NULL, holder TEXT NOT NULL,
    PRIMARY KEY (cluster, module)
) WITHOUT ROWID
"""


class ClaimStore:
    """Called from threads; one transaction at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(_TABLE)
        except (OSError, sqlite3.Error) as e:
            raise _unusable(file, e) from None

    def claim(self, cluster: str, module: str, asked: Claim) -> Answer:
        """Compare and set; what is answered is on disk."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    answer = self._decide(cluster, module, asked)
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as e:
                raise _unusable(self._file, e) from None
        return answer

    def _decide(self, cluster: str, module: str, asked: Claim) -> Answer:
        row = self._db.execute(
            "SELECT term, holder FROM claims WHERE cluster = ? AND module = ?", (cluster, module)
        ).fetchone()
        if row is None:
            (known,) = self._db.execute(
                "SELECT count(*) FROM claims WHERE cluster = ?", (cluster,)
            ).fetchone()
            if known >= MODULES_MAX:
                raise PeerRefused(
                    f"this witness keeps at most {MODULES_MAX} modules of a cluster",
                    "Forget removed ones on the witness: twofold witness forget",
                )
        stored = NOBODY if row is None else Claim(int(row[0]), str(row[1]))
        answer = decide(stored, asked)
        if answer.stored != stored:
            self._db.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)",
                (cluster, module, answer.stored.term, answer.stored.holder),
            )
        return answer

    def all(self) -> Iterator[tuple[str, str, Claim]]:
        """(cluster, module, claim) of everything that was ever claimed."""
        with self._lock:
            rows = self._db.execute("SELECT cluster, module, term, holder FROM claims").fetchall()
        for cluster, module, term, holder in rows:
            yield str(cluster), str(module), Claim(int(term), str(holder))

    def forget(self, cluster: str, module: str | None) -> int:
        """Removes one module, or all of a cluster; returns how many."""
        where, values = "cluster = ?", (cluster,)
        if module is not None:
            where, values = "cluster = ? AND module = ?", (cluster, module)
        with self._lock:
            return self._db.execute(f"DELETE FROM claims WHERE {where}", values).rowcount

    def close(self) -> None:
        self._db.close()


def _unusable(file: Path, error: Exception) -> MachineError:
    return MachineError(
        f"the witness cannot use its store {file}: {error}",
        "See that its disk is there, writable and not full.",
    )
