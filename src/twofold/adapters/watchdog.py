"""What keeps the daemon running when the machine is in trouble: locked memory, priority, OOM score.

Each is best effort and says how it went. Where real-time priority is not allowed (some containers),
the highest ordinary one is the next best.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_MCL_CURRENT_FUTURE_ON_FAULT = 7
_REALTIME_PRIORITY = 10
_HIGHEST_NICE = -20


def hold_on() -> Iterator[str]:
    """Takes what it can get, and yields one sentence for each."""
    yield _attempt("memory is locked", _lock_memory)
    yield _attempt("real-time priority is set", _real_time)
    yield _attempt("the OOM killer is kept away", _no_oom)


def _attempt(done: str, attempt: object) -> str:
    try:
        assert callable(attempt)
        attempt()
    except OSError as e:
        return f"not possible here: {done} ({e.strerror})"
    return done


def _lock_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT_FUTURE_ON_FAULT) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _real_time() -> None:
    # Children (services, scripts, the engine) must not inherit it.
    try:
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(_REALTIME_PRIORITY))
    except OSError:
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, _HIGHEST_NICE)
        raise


def _no_oom() -> None:
    Path("/proc/self/oom_score_adj").write_text("-1000")
