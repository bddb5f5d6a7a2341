"""Quantities as people read them, rounded so that they do not change at every look."""

from __future__ import annotations

import time


def duration(seconds: float) -> str:
    """ "just now", "40 s", "12 min", "5 h", "3 days"."""
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{seconds // 5 * 5:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86400:.0f} days"


def left(seconds: float) -> str:
    """A time to wait."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """1.5 GB: powers of ten, as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def rate(per_s: float) -> str:
    return "idle" if per_s < 1 else f"{size(per_s)}/s"


def clock(at: float, now: float) -> str:
    """The time of day; with the day when it is another one."""
    moment = time.localtime(at)
    same_day = time.strftime("%F", moment) == time.strftime("%F", time.localtime(now))
    return time.strftime("%H:%M:%S" if same_day else "%d %b %H:%M", moment)
