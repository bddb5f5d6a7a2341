"""The output of services and scripts, RUN/NAME/services/NAME.log, which they write themselves.

A process holds its log file open for appending and nothing of the daemon: so it never blocks on a
daemon that is gone. The file is bounded: when it has grown, its content goes to `.1` and the file
is cut to zero, which an appending writer does not notice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

ROTATE_BYTES = 4 << 20
_TAIL_BYTES = 8192
_TAIL_LINES = 8
_LINE_CHARACTERS = 300


def open_for_append(log: Path) -> int:
    """A descriptor for a process to write to; the caller closes its own copy."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def size_bytes(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def last_lines(log: Path, since_bytes: int = 0) -> str:
    """The last lines written after `since_bytes`; empty when there are none."""
    try:
        with log.open("rb") as written:
            end = written.seek(0, os.SEEK_END)
            # A rotation in between has moved the beginning: then all that is left is new.
            start = since_bytes if since_bytes <= end else 0
            written.seek(max(start, end - _TAIL_BYTES))
            text = written.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    lines = [line.rstrip()[:_LINE_CHARACTERS] for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])


def quoted(lines: str) -> str:
    """For the end of a sentence: the last output, or that there was none."""
    return f"Its last output: {lines}" if lines else "It wrote nothing."


def rotate(log: Path, limit_bytes: int = ROTATE_BYTES) -> bool:
    """Bound the file; what it holds is kept as `.1`. Copies some megabytes: use a thread."""
    if size_bytes(log) < limit_bytes:
        return False
    with contextlib.suppress(OSError):
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
    return True
