"""One of everything that an application does to a tree, with what was promised to it.

Each round works in a directory of its own, so that rounds do not meet. A step that fails is no
failure of the workout: its errno is kept. What a step was told is written is kept too, and can be
compared with a copy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PUNCH_HOLE_KEEP_SIZE = 3
LARGE = 300_000


class Workout:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.round = 0
        self.errors: dict[str, int] = {}
        self.longest_s = 0.0
        self.acknowledged: dict[str, bytes] = {}
        """Below the root: contents that a write, now complete, was told are there."""

    def run(self) -> dict[str, int]:
        """One round; returns which steps failed with which errno."""
        self.round += 1
        self.errors = {}
        self.longest_s = 0.0
        self.here = self.root / f"round {self.round}"
        steps: list[Callable[[], None]] = [
            *(self.begins, self.writes, self.syncs, self.writes_much),
            *(self.truncates, self.allocates, self.makes, self.links, self.renames),
            *(self.unlinks, self.attributes, self.xattrs, self.reads, self.lists),
            *(self.finds_holes, self.unlinked_but_open, self.writes_durably),
        ]
        for step in steps:
            begun = time.monotonic()
            try:
                step()
            except OSError as error:
                self.errors[step.__name__] = error.errno or -1
            self.longest_s = max(self.longest_s, time.monotonic() - begun)
        return self.errors

    def missing(self, copy: Path) -> list[str]:
        """What was acknowledged and is not in this copy."""
        found: list[str] = []
        for name, contents in self.acknowledged.items():
            try:
                if (copy / name).read_bytes() != contents:
                    found.append(f"{name} differs")
            except OSError as error:
                found.append(str(error))
        return found

    def write(self, name: str, contents: bytes, flags: int = 0) -> None:
        """Acknowledged as a whole or not at all."""
        path = self.here / name
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | flags, 0o640)
        try:
            written = 0
            while written < len(contents):
                written += os.pwrite(descriptor, contents[written:], written)
        finally:
            os.close(descriptor)
        self.acknowledged[str(path.relative_to(self.root))] = contents

    def begins(self) -> None:
        self.here.mkdir()

    def writes(self) -> None:
        for number in range(4):
            self.write(f"small {number}", f"{self.round} {number}\n".encode() * 50)

    def writes_much(self) -> None:
        self.write("large", bytes([self.round % 251]) * LARGE)

    def writes_durably(self) -> None:
        self.write("durable", b"d" * 5000, os.O_DSYNC)

    def syncs(self) -> None:
        self.write("synced", b"s" * 5000)
        for sync in (os.fsync, os.fdatasync):
            descriptor = os.open(self.here / "synced", os.O_RDWR)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)

    def truncates(self) -> None:
        self.write("cut", b"t" * 9000)
        self.acknowledged.pop(str((self.here / "cut").relative_to(self.root)))
        os.truncate(self.here / "cut", 10)
        os.truncate(self.here / "cut", 6000)

    def allocates(self) -> None:
        self.write("allocated", b"a" * 20_000)
        self.acknowledged.pop(str((self.here / "allocated").relative_to(self.root)))
        descriptor = os.open(self.here / "allocated", os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, 50_000)
            args = (ctypes.c_long(4096), ctypes.c_long(8192))
            if _LIBC.fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, *args) != 0:
                raise OSError(ctypes.get_errno(), "fallocate")
        finally:
            os.close(descriptor)

    def makes(self) -> None:
        (self.here / "directory").mkdir()
        (self.here / "symbolic").symlink_to("somewhere/else")
        os.mkfifo(self.here / "fifo")
        os.mknod(self.here / "device", 0o20666, os.makedev(1, 3))

    def links(self) -> None:
        self.write("one", b"linked")
        os.link(self.here / "one", self.here / "two")

    def renames(self) -> None:
        self.write("before", b"moved" * 100)
        name = str((self.here / "before").relative_to(self.root))
        contents = self.acknowledged.pop(name)
        (self.here / "before").rename(self.here / "after")
        self.acknowledged[str((self.here / "after").relative_to(self.root))] = contents

    def unlinks(self) -> None:
        self.write("gone", b"gone")
        self.acknowledged.pop(str((self.here / "gone").relative_to(self.root)))
        (self.here / "gone").unlink()
        (self.here / "empty").mkdir()
        (self.here / "empty").rmdir()

    def attributes(self) -> None:
        self.write("owned", b"owned")
        os.chown(self.here / "owned", 12, 34)
        (self.here / "owned").chmod(0o604)
        os.utime(self.here / "owned", ns=(1, 1_234_567_890_123_456_789))

    def xattrs(self) -> None:
        self.write("noted", b"noted")
        for value in (b"one", b"two"):
            os.setxattr(self.here / "noted", "user.note", value)
        os.removexattr(self.here / "noted", "user.note")
        os.setxattr(self.here / "noted", "user.kept", b"kept")
        os.getxattr(self.here / "noted", "user.kept")
        os.listxattr(self.here / "noted")

    def reads(self) -> None:
        for name in ("small 0", "large"):
            descriptor = os.open(self.here / name, os.O_RDONLY | os.O_DIRECT)
            try:
                # Past the kernel's memory: O_DIRECT wants an aligned buffer.
                with mmap.mmap(-1, 1 << 16) as buffer:
                    os.preadv(descriptor, [buffer], 0)
            finally:
                os.close(descriptor)
        (self.here / "symbolic").readlink()

    def lists(self) -> None:
        for entry in os.scandir(self.here):
            entry.stat(follow_symlinks=False)
        os.statvfs(self.here)

    def finds_holes(self) -> None:
        descriptor = os.open(self.here / "allocated", os.O_RDONLY)
        try:
            os.lseek(descriptor, 0, os.SEEK_DATA)
        finally:
            os.close(descriptor)

    def unlinked_but_open(self) -> None:
        self.write("orphan", b"o" * 100)
        self.acknowledged.pop(str((self.here / "orphan").relative_to(self.root)))
        descriptor = os.open(self.here / "orphan", os.O_RDWR)
        try:
            (self.here / "orphan").unlink()
            os.pwrite(descriptor, b"still there", 50)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
