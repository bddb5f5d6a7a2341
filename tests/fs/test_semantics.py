"""The mount does what the bare directory does, operation by operation, and both copies agree.

Known differences, each with its reason, and each a test below where it can be one:

- Cloning a file (`FICLONE`) is refused with EOPNOTSUPP by the kernel's FUSE, also above xfs.
- `chown` of a file to nobody else (`-1, -1`) does nothing at all: the kernel's FUSE does not ask.
- A file with set-group-id and without execution for its group keeps that bit when somebody who is
  not in the group truncates, writes to or owns it anew: Linux takes it away since 6.2, FUSE does
  not say so.
- `fallocate` to collapse or insert a range is refused with EOPNOTSUPP, by the kernel's FUSE itself.
- With `sync = "fsync"` SEEK_HOLE and SEEK_DATA find no holes: the kernel asks before it has brought
  out what it holds back, so that data would be taken for holes. Holes stay holes on both disks.
  For the same reason `st_blocks` of a file that is open for writing grows only when it is closed.
- What a program writes through a mapping beyond the end of the file, in its last page, shows when
  the file is extended later; ext4 fills it with zeros. The kernel's FUSE does not, POSIX leaves it
  open. Both copies have the same.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.conftest import on_xfs
from tests.fs.engines import Pair
from tests.fs.operations import contents, corners, naming, opening, permitting, special, unnamed
from tests.fs.operations.kernel import (
    COLLAPSE_RANGE,
    INSERT_RANGE,
    allocate,
    sync_file_system,
)
from tests.fs.operations.table import LARGE, LASTING, OPERATIONS, Operation
from twofold.lab.compare import compare_trees

pytestmark = pytest.mark.timeout(60)
# Found by seeking: with the policy "fsync" there are none to be seen on the mount.
HOLES_SEEN = {"holes_are_found", "write_far_out"}
assert all((contents, corners, naming, opening, permitting, special, unnamed)), (
    "imported for their operations"
)


@dataclass
class Stage:
    pair: Pair
    bare: Path
    way: str


OPTIONS = {"write": {}, "fsync": {"sync": "fsync"}, "direct": {"cache": "none"}, "xfs": {}}
# Large operations are done in the first way.
ONCE = {"fsync", "direct", "xfs"}


@pytest.fixture(scope="module", params=OPTIONS)
def stage(request: pytest.FixtureRequest, module_home: Path) -> Iterator[Stage]:
    """One pair for all operations of a way to mount; each has a directory of its own."""
    way: str = request.param
    home = module_home / way
    with on_xfs(home) if way == "xfs" else nullcontext(home) as place:
        bare = place / "pair" / "bare"
        bare.mkdir(parents=True)
        pair = Pair(place / "pair", **OPTIONS[way])
        try:
            pair.start()
            yield Stage(pair, bare, way)
        finally:
            pair.close()


def bounded(name: str) -> object:
    """A large operation is tens of thousands of calls, each over the link: 20 s when nothing else
    runs, over 60 s beside another test's disk. The bound finds a hang, it measures no speed."""
    return pytest.param(name, marks=pytest.mark.timeout(300)) if name in LARGE else name


@pytest.mark.parametrize("name", [bounded(name) for name in OPERATIONS])
def test_the_mount_does_what_the_bare_directory_does(stage: Stage, name: str) -> None:
    if name in LARGE and stage.way in ONCE:
        pytest.skip("a large one: done in another way")
    if name in HOLES_SEEN and stage.way == "fsync":
        pytest.skip("holes are not seen with this policy")
    compare(stage, name, OPERATIONS[name])


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", LASTING)
def test_the_mount_does_so_also_where_it_takes_long(stage: Stage, name: str) -> None:
    compare(stage, name, LASTING[name])


def compare(stage: Stage, name: str, operation: Operation) -> None:
    mounted, bare = stage.pair.a.tree / name, stage.bare / name
    told: list[object] = []
    for root in (bare, mounted):
        root.mkdir()
        told.append(operation(root))
    assert told[1] == told[0]
    sync_file_system(mounted)
    raw = stage.pair.a.raw / name
    # Times are those of the moment; where an operation sets them, it tells them.
    differences = [d for d in compare_trees(bare, raw).differences if d.what != "mtime"]
    assert not differences, differences[:10]
    same(stage.pair, name)


def test_the_time_of_birth_is_told(stage: Stage) -> None:
    """By `stat`, which asks for it; each copy has its own."""
    path = stage.pair.a.tree / "born"
    before = time.time()
    path.write_text("x")
    born = subprocess.run(
        ["stat", "--format", "%W %s", path], check=True, capture_output=True, text=True
    )
    seconds, size = born.stdout.split()
    assert before - 2 <= int(seconds) <= time.time() + 2
    assert size == "1"
    with path.open("rb") as file:
        path.unlink()
        told = birth(file.fileno())
    assert told is not None, "also of a file that has lost its name"
    assert before - 2 <= told <= time.time() + 2


def birth(descriptor: int) -> int | None:
    """Of an open file, by statx(2), in seconds."""
    libc, told = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(256)
    empty_path, birth_mask, birth_offset = 0x1000, 0x800, 80
    assert libc.statx(descriptor, b"", empty_path, birth_mask, told) == 0
    mask, seconds = struct.unpack_from("I", told)[0], struct.unpack_from("q", told, birth_offset)[0]
    return seconds if mask & birth_mask else None


@pytest.mark.parametrize("mode", [COLLAPSE_RANGE, INSERT_RANGE])
def test_ranges_are_not_collapsed_or_inserted(stage: Stage, mode: int) -> None:
    with (stage.pair.a.tree / f"file {mode}").open("wb") as file:
        file.write(b"x" * 3 * 4096)
        file.flush()
        with pytest.raises(OSError) as caught:
            allocate(file.fileno(), mode, 4096, 4096)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_data_that_is_not_brought_out_yet_is_not_taken_for_a_hole(stage: Stage) -> None:
    descriptor = os.open(stage.pair.a.tree / "dirty", os.O_CREAT | os.O_RDWR)
    try:
        os.write(descriptor, b"x" * 100_000)
        assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 100_000
    finally:
        os.close(descriptor)
