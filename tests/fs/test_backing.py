"""The kernel reads ahead, and holds back, as with a disk and not as with a FUSE mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fs.engines import Pair


def of_kernel(tree: Path, name: str) -> int:
    device = tree.stat().st_dev
    place = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}")
    return int((place / name).read_text())


@pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
def test_it_reads_ahead_by_two_requests(pair: Pair) -> None:
    pair.start()
    assert of_kernel(pair.a.tree, "read_ahead_kb") == 2048
    assert of_kernel(pair.b.tree, "read_ahead_kb") == 2048


@pytest.mark.parametrize("pair", [{"sync": "fsync"}], indirect=True)
def test_a_quarter_of_a_gib_may_wait_to_be_brought_out(pair: Pair) -> None:
    pair.start()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    percent = of_kernel(pair.a.tree, "max_ratio")
    allowed = memory / 5 * percent / 100
    assert allowed <= 256 << 20 or percent == 1
    assert allowed >= 200 << 20 or percent == 100
