"""A control group for each service, where the kernel has version 2 and lets us make one.

It is the only place from which no descendant escapes, whatever it does to its session and
environment. Best effort: without it, `family` finds processes by cookie and session. The group is
made below the daemon's own, because under systemd that is the part of the tree that is ours.
Removing one may wait for half a second: use it in a thread.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

_REMOVE_ATTEMPTS = 25
_REMOVE_GAP_S = 0.02


def make_group(name: str) -> Path | None:
    """A new group of this name, or None where that is not possible."""
    parent = _own_group()
    if parent is None:
        return None
    group = parent / name
    try:
        group.mkdir(exist_ok=True)
    except OSError:
        return None
    return group if (group / "cgroup.procs").exists() else None


def members(group: Path) -> set[int]:
    """The processes in it; empty when it is gone."""
    found: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for below in (group, *(path for path in group.rglob("*") if path.is_dir())):
            found.update(int(pid) for pid in (below / "cgroup.procs").read_text().split())
    return found


def kill_group(group: Path) -> None:
    """End everything in it at once, forks in progress included (Linux 5.14)."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def remove_group(group: Path) -> None:
    """Remove it. The kernel calls it busy for a moment after its last process has ended."""
    for _ in range(_REMOVE_ATTEMPTS):
        with contextlib.suppress(OSError):
            for below in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
                below.rmdir()
            group.rmdir()
        if not group.exists():
            return
        time.sleep(_REMOVE_GAP_S)


def _own_group() -> Path | None:
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        own = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    where = next((m.split()[4] for m in mounts if " - cgroup2 " in m), None)
    path = next((line.partition("::")[2] for line in own if line.startswith("0::")), None)
    if where is None or path is None:
        return None
    group = Path(where) / path.lstrip("/")
    return group if (group / "cgroup.procs").exists() else None
