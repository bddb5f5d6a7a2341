"""Both copies compared, once they have had the moment that remembered times need."""

from __future__ import annotations

import time

from tests.fs.engines import Pair
from twofold.lab.compare import compare_trees

# The secondary sets the primary's modification times when the stream is quiet (for 0.1 s).
SETTLED_WITHIN_S = 3.0


def same(pair: Pair, below: str = "") -> None:
    until = time.monotonic() + SETTLED_WITHIN_S
    while True:
        differences = compare_trees(pair.a.raw / below, pair.b.raw / below).differences
        only_times = all(difference.what == "mtime" for difference in differences)
        if not differences or not only_times or time.monotonic() > until:
            assert not differences, differences[:10]
            return
        time.sleep(0.1)
