"""`cache = "none"`: every read and write comes to the engine, several writers of a file at a time.

What they write is the same on both nodes, and what one writes all others see.
"""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.engines import Pair

BLOCK_BYTES = 4096
BLOCKS = 64

# Overlapping blocks on purpose: which of two wins is open, but it must be the same on both nodes.
WRITER = f"""
import os, random, sys
chance = random.Random(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_RDWR)
for _ in range(300):
    os.pwrite(fd, chance.randbytes({BLOCK_BYTES}), chance.randrange({BLOCKS}) * {BLOCK_BYTES})
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path, cache="none")
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


def test_writers_of_one_file_at_a_time_leave_equal_copies(pair: Pair) -> None:
    path = pair.a.tree / "shared"
    path.write_bytes(bytes(BLOCKS * BLOCK_BYTES))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(seed)]) for seed in range(4)
    ]
    assert [w.wait(60) for w in writers] == [0, 0, 0, 0]
    content = path.read_bytes()
    assert content == (pair.a.raw / "shared").read_bytes() == (pair.b.raw / "shared").read_bytes()
    assert bytes(BLOCK_BYTES) not in {
        content[i : i + BLOCK_BYTES] for i in range(0, len(content), BLOCK_BYTES)
    }


def test_appends_of_several_are_all_there(pair: Pair) -> None:
    path = pair.a.tree / "log"
    path.touch()
    append = f"import os,sys\nfd=os.open({str(path)!r},os.O_WRONLY|os.O_APPEND)\n"
    append += "for i in range(200): os.write(fd,(sys.argv[1]+' %d\\n'%i).encode())"
    writers = [subprocess.Popen([sys.executable, "-c", append, name]) for name in "abcd"]
    assert [w.wait(60) for w in writers] == [0, 0, 0, 0]
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {i}" for name in "abcd" for i in range(200))
    assert (pair.b.raw / "log").read_text().splitlines() == lines


def test_a_mapping_and_plain_calls_see_each_other(pair: Pair) -> None:
    path = pair.a.tree / "mapped"
    old, new = random.Random(1).randbytes(BLOCK_BYTES), random.Random(2).randbytes(BLOCK_BYTES)
    path.write_bytes(old)
    with path.open("r+b", buffering=0) as file:
        try:
            mapping = mmap.mmap(file.fileno(), BLOCK_BYTES)
        except OSError:
            pytest.skip("shared mappings of such files need Linux 6.6")
        with mapping:
            assert mapping[:] == old
            os.pwrite(file.fileno(), new, 0)
            assert mapping[:] == new
            mapping[:5] = b"hello"
            mapping.flush()
            assert os.pread(file.fileno(), 5, 0) == b"hello"
    assert (pair.b.raw / "mapped").read_bytes() == b"hello" + new[5:]
