"""The engines' memory: what a resync of many files takes, and a walk through all of them."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from tests.fs.engines import Engine, Pair

IN_A_DIRECTORY = 1000
MIB = 1 << 20


def resident_bytes(engine: Engine) -> int:
    assert engine.process is not None
    status = Path(f"/proc/{engine.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def make(root: Path, files: int) -> None:
    for number in range(files):
        directory = root / f"directory {number // IN_A_DIRECTORY}"
        if number % IN_A_DIRECTORY == 0:
            directory.mkdir()
        os.close(os.open(directory / f"a file {number}", os.O_CREAT | os.O_WRONLY, 0o644))


def walk(root: Path) -> int:
    """Every file looked up, as `find -size` does."""
    seen = 0
    for directory in os.scandir(root):
        for file in os.scandir(directory.path):
            file.stat(follow_symlinks=False)
            seen += 1
    return seen


def measure(pair: Pair, files: int) -> dict[str, float]:
    """Bytes for each file: in a resync of all, walked on the mount."""
    make(pair.a.tree, files)
    pair.a.start()
    pair.b.start()
    base = resident_bytes(pair.a), resident_bytes(pair.b)
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    pair.b.command("become_secondary", epoch=pair.epoch)
    most = list(base)

    def ended() -> bool:
        for side, engine in enumerate((pair.a, pair.b)):
            most[side] = max(most[side], resident_bytes(engine))
        return bool(pair.a.status()["peer_up_to_date"])

    begun_s = time.monotonic()
    pair.a.wait_until(ended, 60 + files / 500)
    resync_s = time.monotonic() - begun_s
    assert walk(pair.a.tree) == files
    walked = resident_bytes(pair.a)
    return {
        "base_mib": max(base) / MIB,
        "most_primary_mib": most[0] / MIB,
        "most_secondary_mib": most[1] / MIB,
        "walked_primary_mib": walked / MIB,
        "resync_s": resync_s,
    }


@pytest.mark.parametrize("pair", [{"peer_timeout_ms": 60_000}], indirect=True)
@pytest.mark.timeout(400)
def test_memory_of_a_hundred_thousand_files(pair: Pair) -> None:
    """What is bounded whatever there is (some 20 MiB) is most of it; of a kilobyte for each file
    that was kept awake it would be 100 MiB more."""
    found = measure(pair, 100_000)
    print(found)
    assert found["most_primary_mib"] < 45, found
    assert found["most_secondary_mib"] < 40, found
    assert found["walked_primary_mib"] < 45, found


@pytest.mark.long
@pytest.mark.parametrize("pair", [{"peer_timeout_ms": 60_000}], indirect=True)
@pytest.mark.timeout(3600)
def test_a_million_files(pair: Pair) -> None:
    found = measure(pair, 1_000_000)
    print(found)
    assert found["most_secondary_mib"] < 100, found
    assert found["most_primary_mib"] < 100, found
    assert found["walked_primary_mib"] < 100, found
