"""Both nodes at full CPU load and under memory pressure: the default timeout of 3 s is not missed.

Long tests: on a machine that does other work as well, they would say nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.system.conftest import Pair
from twofold.lab.lab import NODES

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not here"),
]


def available_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("/proc/meminfo has no MemAvailable")


def load(pair: Pair, seconds: int, memory_share: float) -> None:
    node = pair.primary()
    epoch = (pair.cluster.state(node, pair.module) or {})["epoch"]
    said_before = {n: journal(pair, n) for n in NODES}
    each = max(64, int(available_mib() * memory_share / len(NODES)))
    words = ["stress-ng", "--quiet", "--temp-path", "/tmp", "--timeout", f"{seconds}s"]
    words += ["--cpu", str(2 * (os.cpu_count() or 2)), "--switch", "2"]
    words += ["--vm", "2", "--vm-bytes", f"{each}M", "--vm-keep"]
    # Bounded twice: by itself, and by `timeout` if it hangs.
    bounded = ["timeout", "--kill-after=5", str(seconds + 20), *words]
    runs = [pair.lab.popen(n, bounded) for n in NODES]
    try:
        for run in runs:
            run.wait(seconds + 40)
    finally:
        for run in runs:
            run.kill()
    time.sleep(1)
    state = pair.cluster.state(node, pair.module) or {}
    said = {n: journal(pair, n).removeprefix(said_before[n]) for n in NODES}
    assert (state.get("state"), state.get("epoch")) == ("PRIM", epoch), said
    for text in said.values():
        assert "is silent" not in text and "not heard" not in text, said
    pair.whole()
    pair.nothing_lost()


def journal(pair: Pair, node: str) -> str:
    return pair.twofold(node, "log", "-n", "10000")[1]


@pytest.mark.long
@pytest.mark.timeout(150)
def test_load_is_no_death(pair: Pair) -> None:
    load(pair, 20, memory_share=0.2)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_load_are_no_death(pair: Pair) -> None:
    load(pair, 600, memory_share=0.8)
