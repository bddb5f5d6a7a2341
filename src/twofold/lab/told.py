"""The running account: what a person reads while the demo or the torture runs.

One line for each thing that happened, with the time since the beginning. With `--json` the account
goes to standard error, so that standard output is one JSON object and nothing else.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Account:
    def __init__(self, to: TextIO | None = None) -> None:
        self._to = to or sys.stdout
        self._started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def heading(self, text: str) -> None:
        self._write(f"\n{text}\n{'-' * len(text)}")

    def tell(self, text: str) -> None:
        self._write(f"  {self.elapsed_s:6.1f} s  {text}")

    def plain(self, text: str = "") -> None:
        self._write(text)

    def _write(self, text: str) -> None:
        self._to.write(text + "\n")
        self._to.flush()


def figure(milliseconds: int | None) -> str:
    """An outage for people: `0.42 s`, or that there was no answer at all."""
    return "no answer came any more" if milliseconds is None else f"{milliseconds / 1000:.2f} s"
