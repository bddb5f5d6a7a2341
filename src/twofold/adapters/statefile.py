"""A small file that is either the old one or the new one, whatever happens: aside, sync, rename."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


class StateFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    async def write(self, content: bytes) -> None:
        """On disk when this returns. A slow disk delays the caller, not the daemon's loop."""
        await asyncio.to_thread(write_durably, self.path, content)


def write_durably(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    aside = path.with_suffix(path.suffix + ".new")
    with aside.open("wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def next_incarnation(path: Path, wall_s: float) -> int:
    """A number higher than at any earlier start of this daemon, also when the clock went back."""
    try:
        before = int(path.read_text())
    except (FileNotFoundError, ValueError):
        before = 0
    now = max(before + 1, int(wall_s * 1000))
    write_durably(path, f"{now}\n".encode())
    return now
