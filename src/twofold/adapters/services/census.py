"""Every process that lives, with what tells whose it is: one reading for all who ask at once.

When a node ends the services of many modules together, each end asks a few times which processes of
its own still live. Looking through all of /proc costs some milliseconds for each hundred processes,
nearly all of it with Python's lock held. So whoever asks while another reads shares the next
reading: one that began after the question, which is all that the answer must be.

Uses /proc (proc(5)): `stat` for state, session and start time, `environ` for the cookie.
"""

from __future__ import annotations

import io
import os
import threading
import time
from dataclasses import dataclass

COOKIE = "TWOFOLD_SERVICE_COOKIE"
_COOKIE_BEGINS = COOKIE.encode() + b"="
_DEAD_STATES = ("Z", "X")


@dataclass(frozen=True)
class Stat:
    """What we need of /proc/PID/stat. `start_ticks`: clock ticks since the boot."""

    state: str
    session: int
    start_ticks: int

    @property
    def lives(self) -> bool:
        """A zombie does not."""
        return self.state not in _DEAD_STATES


@dataclass(frozen=True)
class Process:
    """A living process. `cookie`: of the service it was started for, as far as we may read it."""

    stat: Stat
    cookie: str | None


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    text = _read(pid, "stat").decode(errors="replace")
    # The name in parentheses may hold anything, so count from the last one.
    fields = text.rpartition(")")[2].split()
    return Stat(fields[0], int(fields[3]), int(fields[19])) if len(fields) > 19 else None


def read_process(pid: int) -> Process | None:
    """None when no such process lives."""
    stat = read_stat(pid)
    return Process(stat, _read_cookie(pid)) if stat is not None and stat.lives else None


class Census:
    """Readings of all processes, shared. For use in threads."""

    def __init__(self) -> None:
        self._one_reads = threading.Lock()
        self._begun_s: float | None = None
        self._living: dict[int, Process] = {}

    def taken_since(self, asked_s: float) -> dict[int, Process]:
        """By number, of a reading that began at `asked_s` (of `time.monotonic`) or later."""
        with self._one_reads:
            if self._begun_s is None or self._begun_s < asked_s:
                self._begun_s = time.monotonic()
                self._living = _read_all()
            return self._living


def _read_all() -> dict[int, Process]:
    numbers = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    seen = ((number, read_process(number)) for number in numbers)
    return {number: process for number, process in seen if process is not None}


def _read_cookie(pid: int) -> str | None:
    for entry in _read(pid, "environ").split(b"\0"):
        if entry.startswith(_COOKIE_BEGINS):
            return entry.removeprefix(_COOKIE_BEGINS).decode(errors="replace")
    return None


def _read(pid: int, name: str) -> bytes:
    """Empty when there is no such process, or we may not look."""
    try:
        with io.FileIO(f"/proc/{pid}/{name}") as file:
            return file.readall()
    except OSError:
        return b""
