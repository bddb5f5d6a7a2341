"""All processes of one service, whoever their parent is, and their forced end.

A process belongs to a service when it is in the service's control group, or in the session of its
first process, or has the service's cookie in its environment. Numbers of processes are used again
by the kernel, so a process is named by number *and* start time, and signalled through a pidfd after
a second look.

Reads all of /proc (`census`): some milliseconds; use it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from twofold.adapters.services import control_group
from twofold.adapters.services.census import Census, Process, read_process, read_stat
from twofold.wire.service_record import ServiceRecord

_PROC = Path("/proc")
_KILL_GAP_S = 0.02
_census = Census()


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def is_alive(pid: int | None, start_ticks: int | None) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    if pid is None:
        return False
    stat = read_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and stat.lives


def members(record: ServiceRecord) -> set[int]:
    """The living processes of the service."""
    if record.boot_id != boot_id():
        return set()
    grouped = _group_members(record)
    living = _census.taken_since(time.monotonic())
    found = {pid for pid, process in living.items() if _belongs(pid, process, record)}
    return {pid for pid in found | grouped if _runs(pid)}


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
    looked_at = {pid: read_process(pid) for pid in pids}
    return {
        pid
        for pid, process in looked_at.items()
        if pid in inside or (process is not None and _belongs(pid, process, record))
    }


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


def _belongs(pid: int, process: Process, record: ServiceRecord) -> bool:
    stat = process.stat
    # Its session is ours only while the leader's number cannot have been used again for another.
    if record.pid is not None and stat.session == record.pid and pid != record.pid:
        leader = read_stat(record.pid)
        if leader is None or leader.start_ticks == record.start_ticks:
            return True
    if pid == record.pid and stat.start_ticks == record.start_ticks:
        return True
    return process.cookie == record.cookie


def _runs(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.lives


def _describe(pid: int) -> str:
    stat = read_stat(pid)
    try:
        name = (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        name = "gone"
    return f"pid {pid} ({name}, state {stat.state if stat else '?'})"
