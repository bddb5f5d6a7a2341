"""One line about a running resync, for a person who waits.

On a terminal the line is written over itself; elsewhere (a file, a pipe) a new one comes now and
then, so that a log stays short.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from twofold.cli.quantities import duration_text, size_text

EVERY_S = 10.0
CLEAR = "\r\033[K"

Object = Mapping[str, Any]


class ProgressLine:
    def __init__(
        self,
        module: str,
        output: TextIO | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._module = module
        self._output = output or sys.stdout
        self._now_s = now_s
        self._overwrites = self._output.isatty()
        self._said_s: float | None = None
        self._shown = False

    def show(self, objects: Iterable[Object]) -> None:
        """The resync of these nodes' states, if there is one."""
        resync = _best(objects)
        if resync is None:
            self.clear()
            return
        line = f"{self._module}: resync {resync_text(resync)}"
        if self._overwrites:
            self._output.write(CLEAR + line)
            self._shown = True
        elif self._said_s is None or self._now_s() >= self._said_s + EVERY_S:
            self._said_s = self._now_s()
            self._output.write(line + "\n")
        self._output.flush()

    def clear(self) -> None:
        """Before something else is printed."""
        if self._shown:
            self._output.write(CLEAR)
            self._output.flush()
            self._shown = False


def _best(objects: Iterable[Object]) -> Object | None:
    """Both nodes tell of the same copy; the one that sends it knows its size."""
    found = [o["resync"] for o in objects if o.get("resync")]
    return max(found, key=lambda r: r.get("as") == "source", default=None)


def resync_text(resync: Object) -> str:
    """ "45 % · 12.3 MiB of 40.0 MiB · 120 files · 5.0 MiB sent · 3.1 MiB/s · 10 s left"."""
    done, total = resync.get("bytes_done") or 0, resync.get("bytes_total")
    parts = [size_text(done) if not total else f"{size_text(done)} of {size_text(total)}"]
    if total:
        parts.insert(0, f"{min(100, 100 * done // total)} %")
    files, files_total = resync.get("files_done"), resync.get("files_total")
    if files is not None:
        parts.append(f"{files} of {files_total} files" if files_total else f"{files} files")
    if resync.get("bytes_sent"):
        parts.append(f"{size_text(resync['bytes_sent'])} sent")
    rate, limit = resync.get("bytes_per_s"), resync.get("limit_bytes_per_s")
    if rate:
        parts.append(f"{size_text(rate)}/s")
    if limit:
        parts.append(f"sends at most {size_text(limit)}/s")
    left = resync.get("seconds_left")
    if left is not None:
        parts.append(f"{duration_text(left)} left")
    return " · ".join(parts)
