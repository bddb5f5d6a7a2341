"""All processes of one service, whoever their parent is, and their forced end.

A process belongs to a service when it is in the service's control group, or in the session of its
first process, or has the service's cookie in its environment. Numbers of processes are used again
by the kernel, so a process is named by number *and* start time, and signalled through a pidfd after
a second look.

Reads all of /proc: some milliseconds; use it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from twofold.adapters.services import control_group
from twofold.wire.service_record import ServiceRecord

COOKIE = "TWOFOLD_SERVICE_COOKIE"
_PROC = Path("/proc")
_KILL_GAP_S = 0.02
_DEAD_STATES = ("Z", "X")


@dataclass(frozen=True)
class Stat:
    """What we need of /proc/PID/stat."""

    state: str
    session: int
    start_ticks: int


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, so count from the last one.
    fields = text.rpartition(")")[2].split()
    return Stat(fields[0], int(fields[3]), int(fields[19])) if len(fields) > 19 else None


def is_alive(pid: int | None, start_ticks: int | None) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    if pid is None:
        return False
    stat = read_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and stat.state not in _DEAD_STATES


def members(record: ServiceRecord) -> set[int]:
    """The living processes of the service."""
    if record.boot_id != boot_id():
        return set()
    numbers = (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())
    found = _group_members(record) | {pid for pid in numbers if _belongs(pid, record)}
    return {pid for pid in found if _runs(pid)}


def signal_all(record: ServiceRecord, number: signal.Signals) -> set[int]:
    """Signal every process of the service; returns which were there."""
    found = members(record)
    for pid in found:
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                if pid in members_of([pid], record):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
    return found


def members_of(pids: list[int], record: ServiceRecord) -> set[int]:
    """Those of `pids` that belong to the service: the second look."""
    inside = _group_members(record)
    return {pid for pid in pids if pid in inside or _belongs(pid, record)}


def force_end(record: ServiceRecord, bound_s: float) -> list[str]:
    """SIGKILL until nothing is left; returns what lives after `bound_s`: "pid 12 (x, state D)"."""
    end_s = time.monotonic() + bound_s
    while True:
        if record.control_group:
            control_group.kill_group(Path(record.control_group))
        left = signal_all(record, signal.SIGKILL)
        if not left or time.monotonic() > end_s:
            break
        time.sleep(_KILL_GAP_S)
    if not left and record.control_group:
        control_group.remove_group(Path(record.control_group))
    return [_describe(pid) for pid in sorted(left)]


def _group_members(record: ServiceRecord) -> set[int]:
    if record.control_group is None:
        return set()
    return control_group.members(Path(record.control_group))


def _belongs(pid: int, record: ServiceRecord) -> bool:
    stat = read_stat(pid)
    if stat is None or stat.state in _DEAD_STATES:
        return False
    # Its session is ours only while the leader's number cannot have been used again for another.
    if record.pid is not None and stat.session == record.pid and pid != record.pid:
        leader = read_stat(record.pid)
        if leader is None or leader.start_ticks == record.start_ticks:
            return True
    if pid == record.pid and stat.start_ticks == record.start_ticks:
        return True
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{COOKIE}={record.cookie}".encode() in environment.split(b"\0")


def _runs(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.state not in _DEAD_STATES


def _describe(pid: int) -> str:
    stat = read_stat(pid)
    try:
        name = (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        name = "gone"
    return f"pid {pid} ({name}, state {stat.state if stat else '?'})"
