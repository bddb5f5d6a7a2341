"""What an application feels of a resync: its writes stay within three times what they take without.

Both are measured in one run, so that the machine and what else it does count on both sides.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair

MIB = 1 << 20
# The promise is 3; what a busy machine adds to one side only is the rest.
RATIO_MAX = 4.0


class Felt:
    """One run of fio: how long its writes took, in microseconds."""

    def __init__(self, found: dict[str, Any], part: str) -> None:
        latency = found["jobs"][0][part]["lat_ns" if part == "sync" else "clat_ns"]
        self.mean_us = latency["mean"] / 1000
        self.p99_us = latency["percentile"]["99.000000"] / 1000
        self.count = latency["N"]


def fio(place: Path, seconds: int, sync: bool) -> dict[str, Felt]:
    command = ["fio", "--name=app", f"--filename={place}", "--rw=randwrite", "--bs=4k"]
    command += ["--size=64M", f"--runtime={seconds}", "--time_based", "--ioengine=psync"]
    command += ["--thinktime=200us", "--output-format=json", "--randseed=7", "--fallocate=none"]
    command += ["--fdatasync=1"] if sync else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    found = json.loads(done.stdout)
    return {part: Felt(found, part) for part in (["write", "sync"] if sync else ["write"])}


def overwrite(place: Path, chunk: bytes, count: int) -> None:
    """And bring it out to the disk, so that this is not what the next writes wait for."""
    with place.open("r+b", buffering=0) as file:
        for _ in range(count):
            file.write(chunk)
        os.fsync(file.fileno())


def resync(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = pair.a.status()["resync"] or {}
    return found


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("pair", [{"resync_limit_bytes_per_s": 250 * MIB}], indirect=True)
@pytest.mark.parametrize("sync", [False, True], ids=["write", "fdatasync"])
def test_writes_during_a_resync_take_at_most_three_times_as_long(pair: Pair, sync: bool) -> None:
    if shutil.which("fio") is None:
        pytest.skip("needs fio")
    app, seconds = pair.a.tree / "app", 4
    chunk = random.Random(1).randbytes(8 * MIB)
    (pair.a.tree / "bulk").write_bytes(chunk * 128)
    app.write_bytes(chunk * 8)
    shutil.copyfile(app, pair.b.tree / "app")
    shutil.copyfile(pair.a.tree / "bulk", pair.b.tree / "bulk")
    pair.start()
    fio(app, 2, sync)
    before = fio(app, seconds, sync)
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    overwrite(pair.a.tree / "bulk", chunk[::-1], 128)
    during: dict[str, Felt] = {}
    thread = threading.Thread(target=lambda: during.update(fio(app, seconds - 1, sync)))
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.a.wait_until(lambda: resync(pair).get("bytes_done", 0) > 0)
    thread.start()
    shares: list[int] = []
    while thread.is_alive():
        shares.append(resync(pair)["share_percent"])
        thread.join(0.2)
    assert resync(pair), "the resync ended before it was measured"
    for part, alone in before.items():
        beside = during[part]
        print(f"{part}: alone {alone.mean_us:.0f} us mean, {alone.p99_us:.0f} us p99; beside a "
              f"resync {beside.mean_us:.0f} us, {beside.p99_us:.0f} us")  # fmt: skip
        assert beside.mean_us < alone.mean_us * RATIO_MAX
        assert beside.p99_us < alone.p99_us * RATIO_MAX
    print(f"shares {shares}")
    assert min(shares) < 100, "the resync took no notice of the application"
    pair.in_sync(pair.a, timeout_s=120)
    same(pair)
