"""What is in files: mappings, locks, holes, copies inside the kernel."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.fs.operations.kernel import (
    KEEP_SIZE,
    PUNCH_HOLE,
    ZERO_RANGE,
    allocate,
)
from tests.fs.operations.people import Child
from tests.fs.operations.table import attempt, operation

BLOCK = 4096


def blocks(path: Path) -> str:
    """The first letter of each block; a dot where it is zeros, then what is no whole block."""
    data = path.read_bytes()
    letters = [chr(data[at] or ord(".")) for at in range(0, len(data), BLOCK)]
    return "".join(letters) + f" {len(data)}"


@operation
def shared_mappings(root: Path) -> object:
    file = root / "file"
    file.write_bytes(b"-" * 3 * BLOCK)
    descriptor = os.open(file, os.O_RDWR)
    with mmap.mmap(descriptor, 3 * BLOCK) as one, mmap.mmap(descriptor, 3 * BLOCK) as two:
        one[0:3] = b"one"
        two[BLOCK : BLOCK + 3] = b"two"
        seen = bytes(two[0:3]), bytes(one[BLOCK : BLOCK + 3]), os.pread(descriptor, 3, 0)
        one.flush()
        os.pwrite(descriptor, b"written", 2 * BLOCK)
        seen += (bytes(one[2 * BLOCK : 2 * BLOCK + 7]),)
        two[100:104] = b"late"
    os.close(descriptor)
    # Seen by another process, after the mapping has gone without msync.
    return seen, Child(lambda: blocks(file)).answer(), file.read_bytes()[100:104]


@operation
def private_mappings(root: Path) -> object:
    file = root / "file"
    file.write_bytes(b"-" * BLOCK)
    descriptor = os.open(file, os.O_RDWR)
    with mmap.mmap(descriptor, BLOCK, access=mmap.ACCESS_COPY) as mapping:
        mapping[0:4] = b"mine"
        seen = bytes(mapping[0:5])
    os.close(descriptor)
    return seen, file.read_bytes()[:5]


@operation
def mapping_of_a_file_that_shrinks_and_grows(root: Path) -> object:
    file = root / "file"
    file.write_bytes(b"a" * 2 * BLOCK)
    with file.open("r+b") as opened_file:
        descriptor = opened_file.fileno()
        with mmap.mmap(descriptor, 2 * BLOCK) as mapping:
            os.ftruncate(descriptor, 100)
            os.ftruncate(descriptor, 2 * BLOCK)
            mapping[BLOCK : BLOCK + 4] = b"back"
            mapping.flush()
            seen = bytes(mapping[90:101])
    return seen, file.read_bytes().strip(b"\0").count(b"a"), blocks(file)


@operation
def locks_of_whole_files(root: Path) -> object:
    file = root / "file"
    file.touch()
    with file.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def other() -> object:
            with file.open("r+b") as mine:
                return attempt(lambda: fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB))

        told = [Child(other).answer()]
        fcntl.flock(held, fcntl.LOCK_UN)
        told.append(Child(other).answer())
    return told


def _lock(descriptor: int, command: int, kind: int, start: int, length: int) -> object:
    request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    return attempt(lambda: struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, command, request))[:4])


def _ranges(root: Path, set_lock: int, get_lock: int) -> object:
    file = root / "file"
    file.write_bytes(b"x" * 100)

    def other() -> object:
        mine = os.open(file, os.O_RDWR)
        return [
            _lock(mine, set_lock, fcntl.F_WRLCK, 5, 1),
            _lock(mine, set_lock, fcntl.F_RDLCK, 30, 5),
            _lock(mine, set_lock, fcntl.F_WRLCK, 30, 5),
            _lock(mine, set_lock, fcntl.F_WRLCK, 50, 0),
            _lock(mine, get_lock, fcntl.F_WRLCK, 0, 0),
        ]

    held = os.open(file, os.O_RDWR)
    told = [_lock(held, set_lock, fcntl.F_WRLCK, 0, 10)]
    told.append(_lock(held, set_lock, fcntl.F_RDLCK, 20, 20))
    told.append(Child(other).answer())
    told.append(_lock(held, set_lock, fcntl.F_UNLCK, 0, 0))
    told.append(Child(other).answer())
    # Closing any descriptor of the file ends the locks of the process, but not those of OFD kind.
    _lock(held, set_lock, fcntl.F_WRLCK, 0, 10)
    os.close(os.open(file, os.O_RDONLY))
    told.append(Child(other).answer())
    os.close(held)
    return told


@operation
def locks_of_ranges(root: Path) -> object:
    return _ranges(root, fcntl.F_SETLK, fcntl.F_GETLK)


@operation
def locks_of_ranges_by_open_file(root: Path) -> object:
    return _ranges(root, fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK)


def _map_of_holes(descriptor: int) -> list[tuple[int, int]]:
    os.fsync(descriptor)
    found: list[tuple[int, int]] = []
    end, at = os.fstat(descriptor).st_size, 0
    while at < end:
        start = attempt(lambda at=at: os.lseek(descriptor, at, os.SEEK_DATA))
        if not isinstance(start, int):
            break
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


@operation
def allocate_in_all_ways(root: Path) -> object:
    steps: list[tuple[str, int, int, int]] = [
        ("extend", 0, 0, 20 * BLOCK),
        ("keep size", KEEP_SIZE, 0, 20 * BLOCK),
        ("punch", PUNCH_HOLE | KEEP_SIZE, 2 * BLOCK, 3 * BLOCK),
        ("punch parts", PUNCH_HOLE | KEEP_SIZE, 100, 2 * BLOCK),
        ("punch alone", PUNCH_HOLE, 0, BLOCK),
        ("zero", ZERO_RANGE, BLOCK, 2 * BLOCK),
        ("zero beyond", ZERO_RANGE, 9 * BLOCK, 3 * BLOCK),
        ("zero, keep size", ZERO_RANGE | KEEP_SIZE, 9 * BLOCK, 3 * BLOCK),
        ("nothing", 0, 0, 0),
    ]
    told: dict[str, object] = {}
    for name, mode, offset, length in steps:
        file = root / name
        file.write_bytes(b"".join(bytes([ord("a") + n]) * BLOCK for n in range(10)))
        with file.open("r+b") as writer:
            descriptor = writer.fileno()
            result = attempt(lambda d=descriptor, a=(mode, offset, length): allocate(d, *a))
            told[name] = result, blocks(file)
    with (root / "punch").open("rb") as reader:
        told["to read"] = attempt(lambda: allocate(reader.fileno(), 0, 0, BLOCK))
    return told


@operation
def holes_are_found(root: Path) -> object:
    descriptor = os.open(root / "sparse", os.O_CREAT | os.O_RDWR)
    for megabyte in (1, 5, 9):
        os.pwrite(descriptor, b"x" * 100_000, megabyte << 20)
    os.ftruncate(descriptor, 12 << 20)
    found = _map_of_holes(descriptor)
    beyond = attempt(lambda: os.lseek(descriptor, 13 << 20, os.SEEK_DATA))
    last = attempt(lambda: os.lseek(descriptor, 11 << 20, os.SEEK_DATA))
    hole = os.lseek(descriptor, 11 << 20, os.SEEK_HOLE)
    os.close(descriptor)
    return found, beyond, last, hole, (root / "sparse").stat().st_blocks


def _copied(root: Path, copy: Callable[[int, int], int]) -> object:
    source, target = root / "source", root / "target"
    source.write_bytes(os.urandom(64) * 5000)
    one = os.open(source, os.O_RDONLY)
    two = os.open(target, os.O_CREAT | os.O_RDWR)
    total = 0
    while count := copy(one, two):
        total += count
    os.close(one)
    os.close(two)
    equal = source.read_bytes() == target.read_bytes()
    source.write_bytes(b"")  # its random contents would differ between the two trees
    target.unlink()
    return total, equal


@operation
def copy_inside_the_kernel(root: Path) -> object:
    return _copied(root, lambda one, two: os.copy_file_range(one, two, 100_000))


@operation
def send_file(root: Path) -> object:
    return _copied(root, lambda one, two: os.sendfile(two, one, None, 100_000))


@operation
def splice_through_a_pipe(root: Path) -> object:
    reader, writer = os.pipe()

    def copy(one: int, two: int) -> int:
        count = os.splice(one, writer, 30_000)
        return os.splice(reader, two, count) if count else 0

    try:
        return _copied(root, copy)
    finally:
        os.close(reader)
        os.close(writer)


@operation
def vectors_and_odd_sizes(root: Path) -> object:
    descriptor = os.open(root / "file", os.O_CREAT | os.O_RDWR)
    sizes = [1, 4095, 4096, 4097, 131_072, 1_048_577, 3_000_000]
    letters = b"abcdefg"
    written = [os.write(descriptor, letters[at : at + 1] * size) for at, size in enumerate(sizes)]
    vector = os.pwritev(descriptor, [b"one", b"", b"three" * 2000], 4000)
    parts = [bytearray(3), bytearray(10), bytearray(20_000)]
    read = os.preadv(descriptor, parts, 3999)
    end = os.lseek(descriptor, 0, os.SEEK_END)
    os.close(descriptor)
    return written, vector, read, bytes(parts[0]), bytes(parts[1]), end
