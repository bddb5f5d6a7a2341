"""What a loss of power may leave of writes that nobody synced: some of their sectors.

The page cache is remembered just before the cut, sector by sector, and when the disk is there again
sectors of it are put onto the disk, at random. Only onto blocks that the file had at the same place
of the disk before and after (`FIEMAP`): there a write in place was under way, and a disk that loses
power has done any part of it. All else is the file system's own affair.
"""

from __future__ import annotations

import fcntl
import os
import random
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

SECTOR_BYTES = 512
_CHUNK_BYTES = 1 << 20
_FIEMAP = 0xC020660B
_HEAD = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQQQLLLL")
_EXTENTS_MAX = 256
# Not known, not allocated yet, not written yet, inside of the inode or compressed.
_NOT_IN_PLACE = 0x2 | 0x4 | 0x8 | 0x200 | 0x800

Blocks = dict[int, int]  # of a file: sector -> where on the disk


def blocks_of(descriptor: int, size: int) -> Blocks:
    """Without bringing anything out: what is only in the cache has no place."""
    if size == 0:
        return {}  # the kernel refuses to look for nothing
    room = bytearray(_HEAD.size + _EXTENTS_MAX * _EXTENT.size)
    _HEAD.pack_into(room, 0, 0, size, 0, 0, _EXTENTS_MAX, 0)
    fcntl.ioctl(descriptor, _FIEMAP, room)
    found: Blocks = {}
    for number in range(_HEAD.unpack_from(room)[3]):
        at = _HEAD.size + number * _EXTENT.size
        logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(room, at)
        if flags & _NOT_IN_PLACE == 0:
            for offset in range(0, min(length, size - logical), SECTOR_BYTES):
                found[(logical + offset) // SECTOR_BYTES] = physical + offset
    return found


def _contents(descriptor: int, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Sector, place on the disk, contents; read many at a time."""
    begin, chunk = 0, b""
    for sector, physical in sorted(blocks_of(descriptor, size).items()):
        offset = sector * SECTOR_BYTES
        if not begin <= offset < begin + len(chunk):
            begin, chunk = offset, os.pread(descriptor, _CHUNK_BYTES, offset)
        yield sector, physical, chunk[offset - begin : offset - begin + SECTOR_BYTES]


class Cache:
    """All files below a place as programs saw them, by their place on the disk."""

    def __init__(self, place: Path) -> None:
        self.sectors: dict[int, bytes] = {}
        for descriptor, size in _files(place):
            for sector, physical in blocks_of(descriptor, size).items():
                self.sectors[physical] = os.pread(descriptor, SECTOR_BYTES, sector * SECTOR_BYTES)

    def tear(self, place: Path, rng: random.Random) -> int:
        """After the cut: some sectors that were under way have arrived. Returns how many."""
        torn = 0
        for descriptor, size in _files(place, os.O_RDWR):
            before = os.fstat(descriptor)
            share = rng.choice([0, 0.1, 0.5, 0.9, 1])
            for sector, physical, standing in list(_contents(descriptor, size)):
                wanted = self.sectors.get(physical)
                if wanted is None or wanted == standing or len(wanted) != len(standing):
                    continue
                if rng.random() < share:
                    os.pwrite(descriptor, wanted, sector * SECTOR_BYTES)
                    torn += 1
            if torn:
                os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
                os.fsync(descriptor)
        return torn


def _files(place: Path, access: int = os.O_RDONLY) -> Iterator[tuple[int, int]]:
    for folder, _, names in os.walk(place):
        for name in sorted(names):
            path = Path(folder) / name
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_NOATIME)
            try:
                yield descriptor, os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
