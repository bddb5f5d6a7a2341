"""Does a file system answer in time (`mount`), and has it room (`disk`)?

Both ask with coreutils' `stat -f` in a process of its own: a mount whose server is dead holds
whoever touches it inside the kernel, and that must be neither the daemon nor one of its threads.
Through the replicated directory the question goes to the module's engine, which asks the disk.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from twofold.adapters.checkers.program import Answer, Program
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.config.units import format_size
from twofold.ports import Verdict

_FORMAT = "%S %b %a %c %d"  # block size, blocks, available to all, inodes, free inodes


@dataclass(frozen=True)
class Space:
    """What `statfs` tells, available to everybody (not the reserve of root)."""

    total_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int

    @property
    def free_percent(self) -> float:
        return 100.0 * self.free_bytes / self.total_bytes if self.total_bytes else 100.0

    @property
    def free_inodes_percent(self) -> float:
        """btrfs and others count none: they never run out."""
        return 100.0 * self.free_inodes / self.inodes if self.inodes else 100.0


def read_space(line: str) -> Space:
    size, blocks, available, inodes, free = (int(word) for word in line.split())
    return Space(size * blocks, size * available, inodes, free)


def judge(path: str, space: Space, checker: Checker) -> Verdict:
    """Pure: whether that is room enough."""
    free, percent = space.free_bytes, space.free_percent
    room = f"{short_size(free)} ({percent:.0f} %) free around {path}"
    if checker.free_bytes is not None and free < checker.free_bytes:
        return Verdict(False, f"only {room}; wanted are {format_size(checker.free_bytes)}")
    if percent < checker.free_share_percent:
        return Verdict(False, f"only {room}; wanted are {checker.free_share_percent} %")
    if space.free_inodes_percent < checker.free_inodes_percent:
        return Verdict(
            False,
            f"only {space.free_inodes} of {space.inodes} inodes free around {path}; "
            f"wanted are {checker.free_inodes_percent} %",
        )
    return Verdict(True, room)


def short_size(size_bytes: int) -> str:
    """Three digits and a unit."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}"


class MountChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._timeout_s = checker.timeout_s
        paths = (checker.path,) if checker.path else target.directories
        self._programs = {path: _asking(path) for path in paths}

    async def probe(self) -> Verdict:
        start_s = time.monotonic()
        runs = [program.run(self._timeout_s) for program in self._programs.values()]
        for path, answer in zip(self._programs, await asyncio.gather(*runs), strict=True):
            if (trouble := _trouble(path, answer, self._timeout_s)) is not None:
                return trouble
        took_ms = round((time.monotonic() - start_s) * 1000)
        return Verdict(True, f"{', '.join(self._programs)} answered in {took_ms} ms")


class DiskChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._checker, self._path = checker, checker.path or "/"
        self._program = _asking(self._path)

    async def probe(self) -> Verdict:
        answer = await self._program.run(self._checker.timeout_s)
        if (trouble := _trouble(self._path, answer, self._checker.timeout_s)) is not None:
            return trouble
        return judge(self._path, read_space(answer.first_line), self._checker)


def _asking(path: str) -> Program:
    return Program(("stat", "--file-system", f"--format={_FORMAT}", "--", path), plain=True)


def _trouble(path: str, answer: Answer, bound_s: float) -> Verdict | None:
    if answer.hangs:
        return Verdict(False, f"{path} does not answer: not even SIGKILL ended a look at it")
    if answer.code is None:
        return Verdict(False, f"{path} did not answer within {bound_s:g} s")
    if answer.code != 0:
        return Verdict(False, f"{path} cannot be asked: {answer.last_line.rpartition(': ')[2]}")
    return None
