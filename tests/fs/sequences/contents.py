"""Contents: a few files written, mapped, cut, punched and copied, through every kind of opening."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

from tests.fs.operations.kernel import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, allocate
from tests.fs.sequences.trace import Sequence, Step

FILES = ["one", "two"]
SIZE_MAX = 600_000
PAGE = 4096
WAYS = {
    "plain": os.O_RDWR,
    "append": os.O_RDWR | os.O_APPEND,
    "direct": os.O_RDWR | os.O_DIRECT,
    "data sync": os.O_RDWR | os.O_DSYNC,
    "full sync": os.O_RDWR | os.O_SYNC,
}


def _digest(data: bytes) -> str:
    return f"{len(data)} {hashlib.blake2b(data, digest_size=8).hexdigest()}"


def _buffer(data: bytes) -> mmap.mmap:
    """Aligned, as direct I/O needs it."""
    buffer = mmap.mmap(-1, max(len(data), 1))
    buffer.write(data)
    return buffer


class Contents(Sequence):
    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.open_files: dict[tuple[str, str], int] = {}

    def steps(self) -> list[tuple[int, Step]]:
        return [
            (12, self.write),
            (10, self.read),
            (4, self.write_many),
            (6, self.write_mapped),
            (5, self.read_mapped),
            (5, self.truncate),
            (6, self.allocate),
            (3, self.copy),
            (3, self.sync),
            (2, self.close),
            (1, self.rename),
            (1, self.seek),
        ]

    def file(self, *ways: str) -> int:
        """A descriptor of a file opened in one of these ways; it stays open."""
        name = self.rng.choice(FILES)
        way = self.rng.choice(ways or tuple(WAYS))
        self.tell("file", name, way)
        if (name, way) not in self.open_files:
            flags = WAYS[way] | os.O_CREAT
            self.open_files[name, way] = os.open(self.root / name, flags, 0o644)
        return self.open_files[name, way]

    def place(self, aligned: bool = False) -> tuple[int, int]:
        offset = self.rng.randrange(SIZE_MAX)
        length = self.rng.choice([1, 511, 512, 4095, 4096, 4097, 20_000, 140_000])
        if aligned or self.rng.random() < 0.3:
            offset -= offset % 512
            length = max(512, length - length % 512)
        return offset, length

    def write(self) -> None:
        descriptor, (offset, length) = (
            self.file("plain", "append", "data sync", "full sync"),
            self.place(),
        )
        data = self.rng.randbytes(1) * length
        self.attempt("write", offset, length, do=lambda: os.pwrite(descriptor, data, offset))

    def write_many(self) -> None:
        descriptor, (offset, length) = self.file("direct"), self.place(aligned=True)
        data = self.rng.randbytes(16) * (length // 16)
        with _buffer(data) as buffer:
            self.attempt(
                "direct", offset, length, do=lambda: os.pwritev(descriptor, [buffer], offset)
            )

    def read(self) -> None:
        descriptor, (offset, length) = self.file("plain", "append"), self.place()
        self.attempt(
            "read", offset, length, do=lambda: _digest(os.pread(descriptor, length, offset))
        )

    def _mapped(self, descriptor: int) -> mmap.mmap | None:
        size = os.fstat(descriptor).st_size
        return mmap.mmap(descriptor, size) if size > 0 else None

    def write_mapped(self) -> None:
        descriptor, (offset, length) = self.file("plain"), self.place()
        data, flush = self.rng.randbytes(1) * length, self.rng.random() < 0.5
        mapping = self._mapped(descriptor)
        if mapping is None:
            return
        with mapping:
            at = offset % len(mapping)
            part = data[: len(mapping) - at]
            mapping[at : at + len(part)] = part
            if flush:
                mapping.flush()
            self.tell("mapped write", at, len(part), len(mapping))

    def read_mapped(self) -> None:
        descriptor, (offset, length) = self.file("plain"), self.place()
        mapping = self._mapped(descriptor)
        if mapping is None:
            return
        with mapping:
            at = offset % len(mapping)
            self.tell("mapped read", at, _digest(mapping[at : at + length]))

    def truncate(self) -> None:
        descriptor, size = self.file("plain", "append"), self.rng.randrange(SIZE_MAX)
        size = self.rng.choice([size, size // PAGE * PAGE, 0])

        def do() -> object:
            os.ftruncate(descriptor, size)
            return os.fstat(descriptor).st_size

        self.attempt("truncate", size, do=do)

    def allocate(self) -> None:
        descriptor, (offset, length) = self.file("plain"), self.place()
        punch = PUNCH_HOLE | KEEP_SIZE
        mode = self.rng.choice([0, KEEP_SIZE, punch, punch, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])

        def do() -> object:
            allocate(descriptor, mode, offset, length)
            return os.fstat(descriptor).st_size

        self.attempt("allocate", mode, offset, length, do=do)

    def copy(self) -> None:
        source, target = self.file("plain"), self.file("plain")
        (offset, length), (to, _) = self.place(), self.place()

        def do() -> object:
            return os.copy_file_range(source, target, length, offset, to)

        self.attempt("copy", offset, length, to, do=do)

    def sync(self) -> None:
        descriptor, data_only = self.file(), self.rng.random() < 0.5
        sync = os.fdatasync if data_only else os.fsync
        self.attempt("sync", data_only, do=lambda: sync(descriptor))

    def close(self) -> None:
        for descriptor in self.open_files.values():
            os.close(descriptor)
        self.open_files.clear()

    def rename(self) -> None:
        """The two change places, while they are open."""

        def do() -> object:
            (self.root / "one").rename(self.root / "aside")
            (self.root / "two").rename(self.root / "one")
            (self.root / "aside").rename(self.root / "two")
            return None

        for name in FILES:
            (self.root / name).touch()
        self.attempt("rename", do=do)
        self.close()

    def seek(self) -> None:
        descriptor = self.file("plain")

        def do() -> object:
            os.fsync(descriptor)
            return os.lseek(descriptor, 0, os.SEEK_END)

        self.attempt("end", do=do)

    def rest(self) -> None:
        self.close()
