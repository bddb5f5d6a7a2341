"""Random changes of every kind to a tree, from a seed: what an application could do to it."""

from __future__ import annotations

import os
import random
import threading
import traceback
from pathlib import Path

_EXPECTED = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)


class RandomLoad:
    """Several may work on one tree; they step on each other's toes, as applications do."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.broken: str | None = None
        self.steps = 0
        self.held: list[int] = []

    def run_until(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.step()
        except Exception:
            self.broken = traceback.format_exc()
        finally:
            for descriptor in self.held:
                os.close(descriptor)

    def directory(self) -> Path:
        depth = self.rng.choice([0, 1, 1, 2])
        path = self.root
        for _ in range(depth):
            path /= f"d{self.rng.randrange(4)}"
        return path

    def name(self) -> Path:
        return self.directory() / f"f{self.rng.randrange(12)}"

    def step(self) -> None:
        self.steps += 1
        actions = (
            [self.write] * 6
            + [self.append] * 4
            + [self.make_directory, self.rename, self.rename, self.unlink, self.link, self.symlink]
            + [self.truncate, self.attributes, self.xattr, self.punch, self.rename_directory]
            + [self.hold, self.exchange, self.remove_directory, self.unnamed, self.name_held]
        )
        try:
            self.rng.choice(actions)()
        except _EXPECTED:
            pass
        except OSError as error:
            # ENOTEMPTY, EINVAL (a directory into itself), ELOOP, EMLINK, EBUSY: legal answers.
            if error.errno not in (39, 22, 40, 31, 16, 1):
                raise

    def write(self) -> None:
        with self.name().open("r+b" if self.rng.random() < 0.5 else "wb") as file:
            file.seek(self.rng.randrange(100_000))
            file.write(self.rng.randbytes(self.rng.choice([1, 100, 4096, 70_000])))

    def append(self) -> None:
        with self.name().open("ab") as file:
            file.write(self.rng.randbytes(self.rng.randrange(1, 3000)))
            if self.rng.random() < 0.1:
                os.fsync(file.fileno())

    def make_directory(self) -> None:
        (self.directory() / f"d{self.rng.randrange(4)}").mkdir()

    def rename(self) -> None:
        self.name().rename(self.name())

    def rename_directory(self) -> None:
        source = self.directory() / f"d{self.rng.randrange(4)}"
        source.rename(self.directory() / f"d{self.rng.randrange(4)}")

    def exchange(self) -> None:
        first, second = self.name(), self.name()
        if first.exists() and second.exists() and first != second:
            aside = self.root / f"x{self.rng.randrange(3)}"
            first.rename(aside)
            second.rename(first)
            aside.rename(second)

    def unlink(self) -> None:
        self.name().unlink()

    def remove_directory(self) -> None:
        (self.directory() / f"d{self.rng.randrange(4)}").rmdir()

    def link(self) -> None:
        os.link(self.name(), self.name(), follow_symlinks=False)

    def symlink(self) -> None:
        self.name().symlink_to("target" + "x" * self.rng.randrange(50))

    def truncate(self) -> None:
        os.truncate(self.name(), self.rng.choice([0, 10, 5000, 200_000]))

    def attributes(self) -> None:
        name = self.name()
        name.chmod(self.rng.choice([0o600, 0o644, 0o755]))
        os.utime(name, ns=(1, self.rng.randrange(10**18)))
        os.chown(name, self.rng.randrange(3), self.rng.randrange(3))

    def xattr(self) -> None:
        os.setxattr(self.name(), f"user.n{self.rng.randrange(2)}", self.rng.randbytes(20))

    def punch(self) -> None:
        with self.name().open("r+b") as file:
            os.posix_fallocate(file.fileno(), self.rng.randrange(50_000), 5000)

    def hold(self) -> None:
        """Write to a file that has lost its name, and keep it open for a while."""
        name = self.name()
        descriptor = os.open(name, os.O_RDWR)
        self.keep(descriptor)
        name.unlink()
        os.pwrite(descriptor, self.rng.randbytes(500), self.rng.randrange(10_000))

    def keep(self, descriptor: int) -> None:
        self.held.append(descriptor)
        if len(self.held) > 5:
            os.close(self.held.pop(0))

    def unnamed(self) -> None:
        """A file without a name, which may get one later."""
        descriptor = os.open(self.directory(), os.O_TMPFILE | os.O_RDWR, 0o644)
        self.keep(descriptor)
        os.pwrite(descriptor, self.rng.randbytes(20_000), self.rng.randrange(10_000))

    def named(self) -> list[int]:
        """Those that may get a name."""
        return self.held

    def name_held(self) -> None:
        """Refused (ENOENT) where it has lost its name; what is named is written to as well."""
        if held := self.named():
            descriptor = self.rng.choice(held)
            os.link(f"/proc/self/fd/{descriptor}", self.name(), src_dir_fd=descriptor)
            os.pwrite(descriptor, self.rng.randbytes(500), self.rng.randrange(40_000))
