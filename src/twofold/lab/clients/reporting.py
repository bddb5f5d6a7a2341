"""How a writer speaks: one JSON line for each fact, whole, in the order the facts became true."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

_lock = threading.Lock()


def report(**fact: Any) -> None:
    """Print one fact; `t` is when it became known here (seconds, monotonic)."""
    with _lock:
        sys.stdout.write(json.dumps({**fact, "t": time.monotonic()}) + "\n")
        sys.stdout.flush()


def stop_with_standard_input() -> threading.Event:
    """An event that is set when standard input ends: the one who started us wants no more."""
    stopped = threading.Event()

    def wait() -> None:
        while os.read(0, 4096):
            pass
        stopped.set()

    threading.Thread(target=wait, daemon=True).start()
    return stopped
