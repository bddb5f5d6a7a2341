"""A file system on a loop device that forgets, on command, all that was not brought to its disk.

The file system is shut down as by a loss of power: nothing is flushed, not even its journal. What
was synced is there at the next mount, what was only written is there if the kernel happened to
have brought it out; with a source of chance, single sectors of it are (`torn`).
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
import subprocess
import time
from pathlib import Path

from tests.fs.torn import Cache

# EXT4_IOC_SHUTDOWN, which is XFS's too, and its flag "without flushing the log".
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSH = 2
_GONE_WITHIN_S = 1.0


class CutDisk:
    def __init__(
        self, image: Path, place: Path, size_mib: int = 96, chance: random.Random | None = None
    ) -> None:
        self.image, self.place, self.chance = image, place, chance
        self.cache: Cache | None = None
        self.torn_sectors = 0
        place.mkdir(parents=True)
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m0", str(image)], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True)
        if self.cache is not None and self.chance is not None:
            self.torn_sectors += self.cache.tear(self.place, self.chance)
        self.cache = None

    def cut(self) -> None:
        """Nothing may be mounted below the place: its files are looked at."""
        if self.chance is not None:
            self.cache = Cache(self.place)
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """And waits until the loop device is gone: while the dead file system lives on (in a mount
        namespace that somebody made meanwhile, say), a mount would be given it again."""
        subprocess.run(["umount", "-l", str(self.place)], check=False, capture_output=True)
        until = time.monotonic() + _GONE_WITHIN_S
        while self._loop() and time.monotonic() < until:
            time.sleep(0.02)
        if self._loop():
            copy = self.image.with_suffix(f".{time.monotonic_ns()}")
            subprocess.run(["cp", "--sparse=always", str(self.image), str(copy)], check=True)
            self.image.unlink()
            self.image = copy

    def snapshot(self) -> None:
        """All that is on it now, as a hypervisor would keep it; it may be in use."""
        frozen = os.path.ismount(self.place)
        if frozen:
            subprocess.run(["fsfreeze", "--freeze", str(self.place)], check=True)
        try:
            kept = str(self.image.with_suffix(".kept"))
            subprocess.run(["cp", "--sparse=always", str(self.image), kept], check=True)
        finally:
            if frozen:
                subprocess.run(["fsfreeze", "--unfreeze", str(self.place)], check=True)

    def has_snapshot(self) -> bool:
        return self.image.with_suffix(".kept").exists()

    def bring_back(self) -> None:
        """To the moment of the snapshot. Nothing may use it."""
        self.unmount()
        kept = str(self.image.with_suffix(".kept"))
        subprocess.run(["cp", "--sparse=always", kept, str(self.image)], check=True)
        self.mount()

    def _loop(self) -> str:
        command = ["losetup", "-j", str(self.image)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
