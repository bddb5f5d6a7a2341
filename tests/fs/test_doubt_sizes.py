"""What a resync costs where the data is large and the change is small."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.test_doubt import comes_back, covered, goes_alone, last

pytestmark = pytest.mark.parametrize("pair", [{"faults": [], "dirty_map": True}], indirect=True)

MIB = 1 << 20
GIB = 1 << 30


def many_files(pair: Pair, count: int) -> float:
    """Ten of them change while the second is stopped in order; how long it takes to be whole."""
    for number in range(count):
        folder = pair.a.tree / f"d{number // 1000}"
        if number % 1000 == 0:
            folder.mkdir()
        (folder / f"f{number}").write_bytes(b"%d" % number)
    pair.start(600 + count / 300)
    pair.a.wait_until(lambda: covered(pair.a), 600)
    pair.b.stop()
    goes_alone(pair)
    rng = random.Random(1)
    for number in rng.sample(range(count), 10):
        (pair.a.tree / f"d{number // 1000}" / f"f{number}").write_bytes(b"changed")
    begun = time.monotonic()
    comes_back(pair, pair.b)
    pair.in_sync(pair.a, 120)
    took = time.monotonic() - begun
    resync = last(pair.a)
    print(f"{count} files, 10 changed: {took:.2f} s, {resync}")
    assert resync["only_doubt"], resync
    assert resync["files"] <= 10, resync
    return took


def sparse_image(pair: Pair, size: int, written: int) -> float:
    """Blocks of 64 KiB are written at random; the primary is killed in the middle."""
    image = pair.a.tree / "image"
    with image.open("wb") as file:
        file.truncate(size)
    pair.start()
    pair.a.wait_until(lambda: covered(pair.a), 60)
    rng = random.Random(2)
    done = 0

    def write() -> None:
        nonlocal done
        try:
            with image.open("r+b", buffering=0) as file:
                while done < written:
                    file.seek(rng.randrange(size // 65536) * 65536)
                    file.write(rng.randbytes(65536))
                    done += 65536
        except OSError:
            return  # the node is gone

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    while done < written // 2 and writer.is_alive():
        time.sleep(0.02)
    pair.a.kill()
    writer.join(20)
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    with (pair.b.tree / "image").open("r+b", buffering=0) as file:
        for _ in range((written - done) // 65536):
            file.seek(rng.randrange(size // 65536) * 65536)
            file.write(rng.randbytes(65536))
    begun = time.monotonic()
    comes_back(pair, pair.a)
    pair.in_sync(pair.b, 120)
    took = time.monotonic() - begun
    print(f"{size / GIB:.0f} GiB, {written / MIB:.0f} MiB written: {took:.2f} s, {last(pair.b)}")
    assert last(pair.b)["only_doubt"], pair.b.log()[-3000:]
    same_data(pair.a.raw / "image", pair.b.raw / "image", size)
    return took


def same_data(one: Path, other: Path, size: int) -> None:
    if size <= GIB:
        assert subprocess.run(["cmp", str(one), str(other)], check=False).returncode == 0
        return
    # Holes are not read: where both have data, and nothing elsewhere.
    script = "import os,sys,hashlib\n" + EXTENTS
    sums = [
        subprocess.run(["python3", "-c", script, str(path)], capture_output=True, check=True).stdout
        for path in (one, other)
    ]
    assert sums[0] == sums[1] != b""


EXTENTS = """
fd = os.open(sys.argv[1], os.O_RDONLY)
size, at, total = os.fstat(fd).st_size, 0, hashlib.sha256()
while at < size:
    try:
        at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break
    end = os.lseek(fd, at, os.SEEK_HOLE)
    while at < end:
        data = os.pread(fd, min(1 << 16, end - at), at)
        if data.strip(b"\\0"):
            total.update(str(at).encode() + data)
        at += len(data)
print(size, total.hexdigest())
"""


def test_few_of_some_files(pair: Pair) -> None:
    many_files(pair, 2000)
    same(pair)


def test_a_crash_beside_an_image(pair: Pair) -> None:
    sparse_image(pair, 4 * GIB, 16 * MIB)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_few_of_a_million_files(pair: Pair) -> None:
    assert many_files(pair, 1_000_000) < 60


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_crash_beside_an_image_of_100_gib(pair: Pair) -> None:
    assert sparse_image(pair, 100 * GIB, GIB) < 10
