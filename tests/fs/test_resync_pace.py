"""How fast a resync goes: the limit a person sets, what is told of it meanwhile."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair, Refused

MIB = 1 << 20


def begin(pair: Pair, mebibytes: int) -> None:
    (pair.a.tree / "large").write_bytes(random.Random(9).randbytes(mebibytes * MIB))
    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    pair.b.command("become_secondary", epoch=pair.epoch)


def resync(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = pair.a.status()["resync"] or {}
    return found


@pytest.mark.parametrize("pair", [{"resync_limit_bytes_per_s": 4 * MIB}], indirect=True)
def test_a_limit_is_kept_told_and_changed_while_it_runs(pair: Pair) -> None:
    begin(pair, 64)
    pair.a.wait_until(lambda: resync(pair).get("bytes_sent", 0) > 0)
    time.sleep(2.5)
    seen = resync(pair)
    ran_s = seen["started_s_ago"]
    assert seen["limit_bytes_per_s"] == 4 * MIB
    assert ran_s * 4 * MIB * 0.5 < seen["bytes_sent"] < ran_s * 4 * MIB + 2 * MIB, seen
    assert seen["bytes_total"] == 64 * MIB
    assert seen["files_total"] == 2
    assert 1 * MIB < seen["sent_bytes_per_s"] < 8 * MIB
    left_s = (64 * MIB - seen["bytes_done"]) / seen["bytes_per_s"]
    assert left_s * 0.6 < seen["seconds_left"] < left_s * 1.6, seen
    with pytest.raises(Refused, match="above 0 nor null"):
        pair.a.command("set_resync_limit", bytes_per_s=0)
    pair.a.command("set_resync_limit", bytes_per_s=None)
    pair.in_sync(pair.a, timeout_s=8)
    same(pair)


@pytest.mark.parametrize("pair", [{"resync_limit_bytes_per_s": 1000}], indirect=True)
def test_a_slow_resync_ends_at_once_when_it_is_told_to(pair: Pair) -> None:
    begin(pair, 4)
    pair.a.wait_until(lambda: resync(pair).get("bytes_sent", 0) > 0)
    begun = time.monotonic()
    pair.a.stop()
    assert time.monotonic() - begun < 5
