"""A writer on the client host, seen from here: its process, and what it has reported so far.

The reports arrive in a thread of their own and are kept in this process, outside every node: what
was acknowledged is known even when both nodes have lost it.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twofold.errors import MachineError

from .lab import Lab
from .ledger import Ledger

Fact = dict[str, Any]


class Writer:
    """Runs `python -m twofold.lab.clients.PROGRAM` on the client host until `stop`."""

    def __init__(
        self,
        lab: Lab,
        program: str,
        arguments: Sequence[str],
        number_of: Callable[[Fact], int | None],
        keep_all: bool = False,
    ) -> None:
        self.ledger = Ledger()
        self.facts: list[Fact] = []
        self._number_of = number_of
        self._keep_all = keep_all
        self._errors = lab.log_path(program)
        argv = ["python", "-m", f"twofold.lab.clients.{program}", *arguments]
        with self._errors.open("ab") as errors:
            self._process = lab.popen(
                "client", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fact: Fact = json.loads(line)
            number = self._number_of(fact)
            with self._lock:
                if number is not None:
                    self.ledger.acknowledged(number, fact["t"])
                if number is None or self._keep_all:
                    self.facts.append(fact)

    @property
    def count(self) -> int:
        with self._lock:
            return self.ledger.count

    def wait_acknowledged_after(self, event_s: float, timeout_s: float, further: int = 3) -> bool:
        """Until some writes that arrived after the event are acknowledged; False: none in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._lock:
                if self.ledger.count - self.ledger.count_until(event_s) >= further:
                    return True
            self.check_alive()
            time.sleep(0.02)
        return False

    def outage_ms(self, event_s: float, until_s: float | None = None) -> int | None:
        with self._lock:
            gap_s = self.ledger.outage_s(event_s, until_s or time.monotonic())
        return None if gap_s is None else round(gap_s * 1000)

    def hindrances(self, latest: int = 5) -> list[str]:
        """What stood in the way of writes lately, with its time: for the message of a failure."""
        with self._lock:
            told = [fact for fact in self.facts if "hindrance" in fact]
        return [f"{fact['t']:.1f} {fact['hindrance']}" for fact in told[-latest:]]

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise MachineError(
                f"The writer on the client host ended by itself: {last_words(self._errors)}"
            )

    def stop(self) -> None:
        """Ask the writer to end, and take in everything it still reports."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        self._reader.join(timeout=10)


def last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "(it said nothing)"
    return lines[-1] if lines else "(it said nothing)"
