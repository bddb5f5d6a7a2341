"""Opening and creating, writing and truncating, and files that lose their names while open."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from tests.fs.operations.people import Child
from tests.fs.operations.table import attempt, listing, opened, operation, shown

CREATE = os.O_CREAT | os.O_WRONLY


@operation
def create_exclusively(root: Path) -> object:
    file = root / "file"
    (root / "dangling").symlink_to("target")
    flags = CREATE | os.O_EXCL
    told = [opened(file, flags, 0o600), opened(file, flags), opened(root / "dangling", flags)]
    told.append(opened(root / "dangling", CREATE))
    return told, listing(root)


@operation
def open_what_is_not_a_file(root: Path) -> object:
    (root / "file").write_text("x")
    (root / "directory").mkdir()
    (root / "link").symlink_to("file")
    return [
        opened(root / "link", os.O_RDONLY | os.O_NOFOLLOW),
        opened(root / "file", os.O_RDONLY | os.O_DIRECTORY),
        opened(root / "directory", os.O_WRONLY),
        opened(root / "directory", os.O_RDONLY | os.O_CREAT),
        opened(root / "missing", os.O_RDONLY),
        opened(root / "file" / "below", os.O_RDONLY),
        opened(os.fsencode(root / "file") + b"/", os.O_RDONLY),
        opened(os.fsencode(root / "new") + b"/", CREATE),
        opened(root / "missing" / "new", CREATE),
        opened(root / "link", os.O_RDONLY | os.O_PATH | os.O_NOFOLLOW),
    ]


@operation
def create_under_each_umask(root: Path) -> object:
    before = os.umask(0)
    try:
        for umask in (0, 0o22, 0o77, 0o137):
            os.umask(umask)
            opened(root / f"file {umask:o}", CREATE, 0o7777)
            os.mkfifo(root / f"fifo {umask:o}", 0o666)
            (root / f"directory {umask:o}").mkdir(0o1777)
    finally:
        os.umask(before)
    return listing(root)


@operation
def truncate_at_open(root: Path) -> object:
    file = root / "file"
    file.write_text("some text")
    told = [opened(file, os.O_WRONLY | os.O_TRUNC), shown(file)]
    file.write_text("again")
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, b"ab")
    told.append(os.pread(descriptor, 10, 0).decode())
    os.close(descriptor)
    return told, shown(file)


@operation
def truncate_in_all_ways(root: Path) -> object:
    file = root / "file"
    file.write_bytes(b"x" * 10_000)
    os.truncate(file, 5000)
    with file.open("rb") as reader:
        reading = attempt(lambda: os.ftruncate(reader.fileno(), 1))
    with file.open("r+b") as writer:
        negative = attempt(lambda: os.ftruncate(writer.fileno(), -1))
        os.ftruncate(writer.fileno(), 20_000)
        os.ftruncate(writer.fileno(), 4097)
        os.ftruncate(writer.fileno(), 9000)
    contents = file.read_bytes()
    return reading, negative, contents.count(b"x"), contents.count(b"\0"), shown(file)


@operation
def append_by_two_writers(root: Path) -> object:
    file = root / "log"

    def append(letter: bytes) -> None:
        descriptor = os.open(file, CREATE | os.O_APPEND)
        for length in range(1, 200):
            os.write(descriptor, letter * length + b"\n")

    writers = [Child(lambda letter=letter: append(letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.answer()
    lines = file.read_bytes().split(b"\n")
    file.unlink()  # the two never mix in the same way
    # Each line whole, each writer's in its order, nothing lost.
    return [[len(line) for line in lines if line.startswith(letter)] for letter in (b"a", b"b")]


@operation
def append_and_seek(root: Path) -> object:
    descriptor = os.open(root / "log", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.write(descriptor, b"first")
    os.pwrite(descriptor, b"second", 0)  # appends all the same on Linux
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"third")
    told = os.lseek(descriptor, 0, os.SEEK_CUR), os.pread(descriptor, 100, 0).decode()
    os.close(descriptor)
    return told


def _aligned(text: bytes, length: int) -> mmap.mmap:
    buffer = mmap.mmap(-1, length)
    buffer.write(text * (length // len(text)))
    return buffer


@operation
def direct_writes_of_512_bytes(root: Path) -> object:
    file = root / "redo log"
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    counts = [os.pwritev(descriptor, [_aligned(b"%04d" % n, 512)], n * 512) for n in range(20)]
    buffer = mmap.mmap(-1, 1024)
    counts.append(os.preadv(descriptor, [buffer], 9 * 512))
    os.close(descriptor)
    return counts, buffer[:].decode(), file.read_bytes().decode()


@operation
def direct_switched_by_fcntl(root: Path) -> object:
    file = root / "redo log"
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    os.pwrite(descriptor, b"b" * 8192, 0)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
    os.pwritev(descriptor, [_aligned(b"d", 512)], 512)
    on = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    os.pwrite(descriptor, b"c", 700)
    told = os.pread(descriptor, 2048, 0).decode()
    os.close(descriptor)
    return on, told


@operation
def synchronous_writes(root: Path) -> object:
    for name, flag in (("sync", os.O_SYNC), ("data", os.O_DSYNC)):
        descriptor = os.open(root / name, CREATE | flag)
        for number in range(5):
            os.write(descriptor, b"%d" % number * 1000)
        os.close(descriptor)
    return [(root / name).read_text() for name in ("sync", "data")]


@operation
def sync_files_and_directories(root: Path) -> object:
    directory = os.open(root, os.O_RDONLY)
    with (root / "file").open("wb") as file:
        file.write(b"x" * 5000)
        file.flush()
        told = [attempt(lambda: os.fsync(file.fileno()))]
        told.append(attempt(lambda: os.fdatasync(file.fileno())))
    with (root / "file").open("rb") as file:
        told.append(attempt(lambda: os.fsync(file.fileno())))
    told += [attempt(lambda: os.fsync(directory)), attempt(lambda: os.fdatasync(directory))]
    (root / "file").unlink()
    told.append(attempt(lambda: os.fsync(directory)))
    os.close(directory)
    return told


@operation
def write_far_out(root: Path) -> object:
    descriptor = os.open(root / "sparse", os.O_CREAT | os.O_RDWR)
    offset = 3 << 40
    os.pwrite(descriptor, b"far", offset)
    os.pwrite(descriptor, b"near", 1 << 20)
    told = [os.pread(descriptor, 10, offset - 2), os.pread(descriptor, 6, 1 << 30)]
    size = os.fstat(descriptor).st_size
    os.fsync(descriptor)
    data = [os.lseek(descriptor, at, os.SEEK_DATA) for at in (0, 1 << 21)]
    past_limit = attempt(lambda: os.ftruncate(descriptor, 17 << 40))
    os.close(descriptor)
    return told, size, data, past_limit


@operation
def unlink_while_open(root: Path) -> object:
    file = root / "file"
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR)
    os.write(descriptor, b"before")
    file.unlink()
    os.pwrite(descriptor, b"after", 6)
    told = os.pread(descriptor, 20, 0), os.fstat(descriptor).st_nlink
    os.fchmod(descriptor, 0o600)
    os.ftruncate(descriptor, 3)
    mode = os.fstat(descriptor).st_mode
    again = attempt(lambda: os.link(f"/proc/self/fd/{descriptor}", file))
    file.write_text("another of this name")
    os.pwrite(descriptor, b"not into it", 0)
    os.close(descriptor)
    return told, mode, again, file.read_text()


@operation
def rename_over_an_open_file(root: Path) -> object:
    old, new = root / "old", root / "new"
    old.write_text("old text")
    new.write_text("new text")
    descriptor = os.open(old, os.O_RDWR)
    new.rename(old)
    told = os.pread(descriptor, 20, 0), os.fstat(descriptor).st_nlink
    os.pwrite(descriptor, b"OLD", 0)
    os.fsync(descriptor)
    told += (os.pread(descriptor, 20, 0),)
    os.close(descriptor)
    return told, listing(root), old.read_text()


@operation
def write_while_it_is_renamed(root: Path) -> object:
    (root / "one").mkdir()
    with (root / "file").open("wb", buffering=0) as file:
        for number in range(10):
            file.write(b"%d" % number)
            source, target = ("file", "one/file") if number % 2 == 0 else ("one/file", "file")
            (root / source).rename(root / target)
        (root / "one").rename(root / "two")
        file.write(b"end")
    return listing(root), (root / "file").read_text()


@operation
def numbers_of_files_come_again(root: Path) -> object:
    """As a database's journals do: the next file has the number of the one just removed."""
    for number in range(500):
        with (root / "journal").open("wb", buffering=0) as file:
            file.write(b"%d" % number)
        descriptor = os.open(root / "journal", os.O_RDWR)
        os.fchown(descriptor, number, number)
        os.write(descriptor, b"again")
        os.close(descriptor)
        if number < 499:
            (root / "journal").unlink()
    return listing(root), (root / "journal").read_text()
