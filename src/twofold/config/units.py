"""Values with a unit: "3s", "200ms", "24h", "1MiB".

A number without a unit is refused, because nobody can tell later which one was meant. Zero needs
none. Durations become seconds (float), sizes become bytes (int).
"""

from __future__ import annotations

import re

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}

_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")


def parse_duration_s(value: object) -> float:
    """Seconds of "200ms", "3s", "5min", "24h", "1d" or "0"."""
    return _parse(value, DURATION_UNITS, "a duration", '"200ms", "3s", "5min" or "24h"')


def parse_size_bytes(value: object) -> int:
    """Bytes of "512KiB", "1MiB", "2GB" or "0"."""
    return int(_parse(value, SIZE_UNITS, "a size", '"512KiB", "1MiB" or "2GB"'))


def _parse(value: object, units: dict[str, float] | dict[str, int], what: str, like: str) -> float:
    match = _NUMBER_AND_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not {what}; write a text such as {like}")
    number, unit = float(match[1]), match[2]
    if unit == "" and number == 0:
        return 0.0
    if unit not in units:
        wrong = f"has an unknown unit {unit!r}" if unit else "has no unit"
        raise ValueError(f"{value!r} {wrong}; write a text such as {like}")
    return number * units[unit]


def format_duration(seconds: float) -> str:
    """The shortest exact text: 0.2 -> "200ms", 90 -> "90s", 86400 -> "1d"."""
    if seconds == 0:
        return "0"
    for unit in ("d", "h", "min", "s"):
        if seconds >= DURATION_UNITS[unit] and (seconds / DURATION_UNITS[unit]).is_integer():
            count = int(seconds / DURATION_UNITS[unit])
            # 90s and 120s read better than 1.5min and 2min do not: keep seconds below two minutes.
            if unit == "min" and seconds < 120:
                continue
            return f"{count}{unit}"
    return f"{round(seconds * 1000)}ms"


def format_size(size_bytes: int) -> str:
    """The largest binary unit that divides it: 1048576 -> "1MiB"."""
    if size_bytes == 0:
        return "0"
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes % SIZE_UNITS[unit] == 0:
            return f"{size_bytes // SIZE_UNITS[unit]}{unit}"
    return f"{size_bytes}B"
