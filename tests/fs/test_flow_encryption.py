"""The flow is encrypted unless both nodes say otherwise; the peer is authenticated either way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.engines import Pair

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def test_without_encryption_both_copies_are_equal(home: Path) -> None:
    pair = Pair(home, flow_encryption="off")
    try:
        pair.start()
        content = os.urandom(5 << 20)
        (pair.a.tree / "large").write_bytes(content)
        for number in range(50):
            (pair.a.tree / f"small-{number}").write_text(str(number))
        assert (pair.b.raw / "large").read_bytes() == content
        assert (pair.b.raw / "small-49").read_text() == "49"
        # The link comes back by itself, plain again.
        pair.b.kill()
        pair.a.command("continue_alone", epoch=2, timeout_s=60)
        (pair.a.tree / "alone").write_text("alone")
        pair.b.start()
        pair.b.command("become_secondary", epoch=2)
        pair.a.wait_status(peer_up_to_date=True)
        assert (pair.b.raw / "alone").read_text() == "alone"
    finally:
        pair.close()


def test_nodes_that_differ_are_told_so(home: Path) -> None:
    pair = Pair(home)
    pair.b.config["flow_encryption"] = "off"
    try:
        pair.a.start()
        pair.a.command("become_primary", epoch=1, alone=True, first=True, force=False)
        pair.b.start()
        pair.b.command("become_secondary", epoch=1)
        for engine in (pair.a, pair.b):
            engine.wait_until(lambda engine=engine: "`flow_encryption`" in engine.log())
        assert not pair.a.status()["peer_up_to_date"]
    finally:
        pair.close()
