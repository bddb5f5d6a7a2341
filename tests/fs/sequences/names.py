"""Names: few of them, so that they meet; several users; files kept open across all of it."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.fs.operations.kernel import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    allocate,
    rename_with,
)
from tests.fs.operations.people import ANNE, BORIS, Person
from tests.fs.sequences.trace import Sequence, Step

ROOT = Person(0, 0)
PEOPLE = [ROOT, ROOT, ROOT, ANNE, BORIS]
NAMES = ["a", "b", "c", "\udcff\x01", "n" * 255, "dir"]
MODES = [0o644, 0o600, 0o755, 0o777, 0o2775, 0o4755, 0o1777, 0o6711, 0o000]
OPEN = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_RDWR | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_APPEND | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW,
    os.O_RDWR | os.O_CREAT | os.O_DSYNC,
    os.O_RDONLY | os.O_DIRECTORY,
]
HELD_MAX = 6


def _acl(*entries: tuple[int, int, int]) -> bytes:
    packed = [struct.pack("<HHI", tag, rights, who & 0xFFFFFFFF) for tag, rights, who in entries]
    return struct.pack("<I", 2) + b"".join(packed)


NOBODY = 0xFFFFFFFF
# Tags: 1 owner, 2 a user, 4 group, 8 a group, 16 mask, 32 others.
ACLS = [
    _acl((1, 6, NOBODY), (4, 4, NOBODY), (32, 0, NOBODY)),
    _acl((1, 7, NOBODY), (2, 6, ANNE.uid), (4, 4, NOBODY), (16, 6, NOBODY), (32, 4, NOBODY)),
    _acl((1, 7, NOBODY), (4, 5, NOBODY), (8, 7, 13050), (16, 7, NOBODY), (32, 1, NOBODY)),
    b"\x02\x00\x00\x00\x01\x00",
]


@contextmanager
def acting_as(person: Person) -> Generator[None]:
    os.setgroups(person.groups)
    os.setegid(person.gid)
    os.seteuid(person.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


class Names(Sequence):
    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.held: list[int] = []
        self.mask = 0o022
        root.chmod(0o777)

    def steps(self) -> list[tuple[int, Step]]:
        return [
            (10, self.open),
            (6, self.make_directory),
            (5, self.unlink),
            (3, self.remove_directory),
            (8, self.rename),
            (5, self.link),
            (3, self.symlink),
            (3, self.node),
            (4, self.chmod),
            (4, self.chown),
            (3, self.times),
            (3, self.truncate),
            (5, self.xattr),
            (2, self.acl),
            (6, self.look),
            (4, self.list),
            (10, self.use),
            (3, self.close),
            (1, self.umask),
        ]

    def run(self, count: int) -> None:
        before = os.umask(self.mask)
        try:
            super().run(count)
        finally:
            os.umask(before)

    def path(self) -> Path:
        path = self.root
        for _ in range(self.rng.choice([0, 0, 0, 1, 1, 2])):
            path /= self.rng.choice(["a", "b", "dir", "dir"])
        return path / self.rng.choice(NAMES)

    def act(self, name: str, person: Person, *given: object, do: Step) -> None:
        def as_person() -> object:
            with acting_as(person):
                return do()

        self.attempt(name, person.uid, *map(self._short, given), do=as_person)

    def _short(self, value: object) -> object:
        return str(value.relative_to(self.root)) if isinstance(value, Path) else value

    def person(self) -> Person:
        return self.rng.choice(PEOPLE)

    @staticmethod
    def shown(path: Path) -> object:
        told = path.lstat()
        size = None if stat.S_ISDIR(told.st_mode) else told.st_size
        return oct(told.st_mode), told.st_nlink, told.st_uid, told.st_gid, size, told.st_rdev

    def open(self) -> None:
        path, person = self.path(), self.person()
        flags, mode = self.rng.choice(OPEN), self.rng.choice(MODES)
        if len(self.held) >= HELD_MAX:
            os.close(self.held.pop(0))

        def do() -> object:
            if flags & os.O_TRUNC and self.keeps_sgid(path, person):
                return "not asked"
            self.held.append(os.open(path, flags | os.O_NONBLOCK, mode))
            told = os.fstat(self.held[-1])
            return oct(told.st_mode), told.st_nlink, told.st_uid, told.st_gid

        self.act("open", person, path, oct(flags), oct(mode), do=do)

    @staticmethod
    def keeps_sgid(path: Path, person: Person) -> bool:
        """A known difference (`test_semantics`)."""
        told = path.stat().st_mode if path.exists() else 0
        return person is not ROOT and bool(told & stat.S_ISGID) and not told & stat.S_IXGRP

    def make_directory(self) -> None:
        path, person, mode = self.path(), self.person(), self.rng.choice(MODES)
        self.act("mkdir", person, path, oct(mode), do=lambda: path.mkdir(mode))

    def unlink(self) -> None:
        path, person = self.path(), self.person()
        self.act("unlink", person, path, do=path.unlink)

    def remove_directory(self) -> None:
        path, person = self.path(), self.person()
        self.act("rmdir", person, path, do=path.rmdir)

    def rename(self) -> None:
        source, target, person = self.path(), self.path(), self.person()
        flags = self.rng.choice([0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT, 3])
        if flags == RENAME_WHITEOUT:
            person = ROOT
        given = (source, target, flags)
        self.act("rename", person, *given, do=lambda: rename_with(source, target, flags))

    def link(self) -> None:
        source, target, person = self.path(), self.path(), self.person()

        def do() -> object:
            os.link(source, target, follow_symlinks=False)
            return self.shown(target)

        self.act("link", person, source, target, do=do)

    def symlink(self) -> None:
        path, person = self.path(), self.person()
        target = self.rng.choice(["a", "../b", "nowhere", "dir/c", "x" * 500])

        def do() -> object:
            path.symlink_to(target)
            return os.readlink(path)

        self.act("symlink", person, path, target, do=do)

    def node(self) -> None:
        path, person = self.path(), self.person()
        kind = self.rng.choice([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, 0])
        mode = self.rng.choice(MODES)
        number = os.makedev(1, 3) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        given = (path, oct(kind | mode))
        self.act("mknod", person, *given, do=lambda: os.mknod(path, kind | mode, number))

    def chmod(self) -> None:
        path, person, mode = self.path(), self.person(), self.rng.choice(MODES)

        def do() -> object:
            path.chmod(mode)
            return self.shown(path)

        self.act("chmod", person, path, oct(mode), do=do)

    def chown(self) -> None:
        path, person = self.path(), self.person()
        uid = self.rng.choice([-1, 0, ANNE.uid, BORIS.uid])
        gid = self.rng.choice([-1, 0, ANNE.gid, 13050])
        if uid == gid == -1:
            return  # the kernel's FUSE does not ask us: set-id bits stay, and anybody may

        def do() -> object:
            if self.keeps_sgid(path, person):
                return "not asked"
            os.chown(path, uid, gid, follow_symlinks=False)
            return self.shown(path)

        self.act("chown", person, path, uid, gid, do=do)

    def times(self) -> None:
        path, person = self.path(), self.person()
        times = self.rng.randrange(10**18), self.rng.randrange(10**18)

        def do() -> object:
            os.utime(path, ns=times, follow_symlinks=False)
            told = path.lstat()
            return told.st_atime_ns, told.st_mtime_ns

        self.act("utime", person, path, times, do=do)

    def truncate(self) -> None:
        path, person, size = self.path(), self.person(), self.rng.choice([0, 1, 5000, 100_000])

        def do() -> object:
            if stat.S_ISFIFO(path.stat().st_mode):
                return "a fifo"
            if self.keeps_sgid(path, person):
                return "not asked"
            os.truncate(path, size)
            return self.shown(path)

        self.act("truncate", person, path, size, do=do)

    def xattr(self) -> None:
        path, person = self.path(), self.person()
        name = self.rng.choice(["user.one", "user.two", "trusted.t", "security.s", "odd", "user."])
        value = self.rng.randbytes(self.rng.choice([0, 1, 60, 1500, 5000]))
        flags = self.rng.choice([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])
        what = self.rng.choice(["set", "set", "get", "list", "remove"])

        def do() -> object:
            match what:
                case "set":
                    os.setxattr(path, name, value, flags, follow_symlinks=False)
                case "get":
                    return os.getxattr(path, name, follow_symlinks=False)
                case "list":
                    return sorted(os.listxattr(path, follow_symlinks=False))
                case _:
                    os.removexattr(path, name, follow_symlinks=False)
            return None

        self.act(f"xattr {what}", person, path, name, len(value), flags, do=do)

    def acl(self) -> None:
        path, person, value = self.path(), self.person(), self.rng.choice(ACLS)
        name = "system.posix_acl_" + self.rng.choice(["access", "default"])

        def do() -> object:
            os.setxattr(path, name, value)
            return self.shown(path), os.getxattr(path, name)

        self.act("acl", person, path, name, ACLS.index(value), do=do)

    def look(self) -> None:
        path, person = self.path(), self.person()

        def do() -> object:
            access = [os.access(path, how, effective_ids=True) for how in (4, 2, 1)]
            link = os.readlink(path) if path.is_symlink() else None
            return self.shown(path), access, link

        self.act("look", person, path, do=do)

    def list(self) -> None:
        path, person = self.path().parent, self.person()
        self.act("list", person, path, do=lambda: sorted(os.listdir(path)))

    def use(self) -> None:
        which = self.rng.randrange(HELD_MAX)
        offset, size = self.rng.randrange(50_000), self.rng.choice([1, 100, 4096, 30_000])
        what = self.rng.choice(["write", "write", "read", "stat", "cut", "chmod", "sync", "room"])
        data, mode = self.rng.randbytes(size), self.rng.choice(MODES)
        if which >= len(self.held):
            return
        descriptor = self.held[which]

        def do() -> object:
            match what:
                case "write":
                    return os.pwrite(descriptor, data, offset)
                case "read":
                    return zlib.crc32(os.pread(descriptor, size, offset))
                case "cut":
                    return os.ftruncate(descriptor, offset)
                case "chmod":
                    return os.fchmod(descriptor, mode)
                case "sync":
                    return os.fsync(descriptor)
                case "room":
                    return allocate(descriptor, 0, offset, size)
                case _:
                    told = os.fstat(descriptor)
                    size_told = None if stat.S_ISDIR(told.st_mode) else told.st_size
                    return oct(told.st_mode), told.st_nlink, size_told

        self.act(f"held {what}", ROOT, which, offset, size, do=do)

    def close(self) -> None:
        if self.held:
            os.close(self.held.pop(self.rng.randrange(len(self.held))))

    def umask(self) -> None:
        self.mask = self.rng.choice([0, 0o022, 0o077, 0o007])
        os.umask(self.mask)

    def rest(self) -> None:
        while self.held:
            os.close(self.held.pop())
