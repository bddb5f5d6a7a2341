"""A load of names: small files are created, renamed into another directory and removed.

One process, one operation after the other, as an unpacking archive or a mail server does it. The
figure counts each of the three as one operation.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

BATCH = 100
CONTENT = os.urandom(4096)


def run(directory: Path, runtime_s: float) -> float:
    """Operations per second on names below `directory`, over about `runtime_s`."""
    place = directory / "names"
    (place / "new").mkdir(parents=True)
    (place / "old").mkdir()
    done = 0
    began_s = time.monotonic()
    try:
        while time.monotonic() - began_s < runtime_s:
            done += _batch(place)
        return done / (time.monotonic() - began_s)
    finally:
        shutil.rmtree(place)


def _batch(place: Path) -> int:
    names = [f"message-{number}" for number in range(BATCH)]
    for name in names:
        with (place / "new" / name).open("wb", buffering=0) as file:
            file.write(CONTENT)
    for name in names:
        (place / "new" / name).rename(place / "old" / name)
    for name in names:
        (place / "old" / name).unlink()
    return 3 * BATCH
