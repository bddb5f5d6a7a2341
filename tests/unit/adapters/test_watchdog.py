"""What the daemon takes for itself: each is tried, each is told, none is an error."""

from __future__ import annotations

import subprocess
import sys


def test_three_sentences_whatever_the_machine_permits() -> None:
    code = "from twofold.adapters.watchdog import hold_on; print(*hold_on(), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "memory is locked" in lines[0]
