"""Random work over the border of excluded paths, by several threads in one tree: in step, alone,
while a resync runs, and after the roles have changed. What is replicated is the same afterwards."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import threading
import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.fs.engines import Engine, Pair
from tests.fs.test_exclusions import EXCLUDE, OPTIONS
from tests.fs.test_verify import found

pytestmark = pytest.mark.timeout(300)
_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_EXCHANGE = 2
FOLDERS = ["", "d", "e", "d/in", "logs", "logs/in", "history", "cache", "d/cache"]
NAMES = ["a", "b", "c", "a.tmp", "b.tmp", "x.old", ".hidden", "cache", "d", "in"]
EXPECTED = {
    errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EXDEV,
    errno.EINVAL, errno.EBUSY, errno.EPERM, errno.ESTALE, errno.ELOOP,
}  # fmt: skip


def exchange(one: Path, two: Path) -> None:
    paths = (os.fsencode(one), os.fsencode(two))
    if _LIBC.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "exchange")


class Work:
    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.broken: str | None = None
        self.steps = 0

    def path(self) -> Path:
        return self.root / self.rng.choice(FOLDERS) / self.rng.choice(NAMES)

    def run_until(self, stop: threading.Event) -> None:
        while not stop.is_set() and self.broken is None:
            self.steps += 1
            try:
                self.step()
            except OSError as error:
                if error.errno not in EXPECTED:
                    self.broken = f"step {self.steps}: {error!r}"

    def step(self) -> None:
        rng, path, other = self.rng, self.path(), self.path()
        what = rng.random()
        if what < 0.30:
            with path.open("ab" if rng.random() < 0.5 else "wb", buffering=0) as file:
                file.write(rng.randbytes(rng.choice([10, 1000, 200_000])))
                if rng.random() < 0.3:
                    os.rename(path, other)
                    file.write(b"through the descriptor")
        elif what < 0.55:
            os.rename(path, other)
        elif what < 0.65:
            os.link(path, other)
        elif what < 0.75:
            path.unlink()
        elif what < 0.83:
            path.mkdir()
        elif what < 0.86:
            path.rmdir()
        elif what < 0.90:
            os.rename(self.root / rng.choice(FOLDERS[1:]), self.root / rng.choice(FOLDERS[1:]))
        elif what < 0.93:
            exchange(path, other)
        elif what < 0.95:
            os.symlink("a", path)
        elif what < 0.97:
            path.chmod(rng.choice([0o600, 0o755, 0o640]))
        else:
            os.setxattr(path, "user.x", rng.randbytes(20))


def excluded(path: str, is_directory: bool) -> bool:
    """What the patterns of the test mean, said another way."""
    parts = path.split("/")
    for depth, part in enumerate(parts, 1):
        folder = is_directory or depth < len(parts)
        below = part.isdigit() and parts[0] == "spool" and depth == 2
        old = fnmatch(part, "*.old") and parts[0] == "logs" and depth == 2
        if fnmatch(part, "*.tmp") or part.startswith(".") or below or old:
            return True
        if folder and part == "cache":
            return True
    return False


def replicated(root: Path) -> dict[str, tuple[object, ...]]:
    seen: dict[str, tuple[object, ...]] = {}
    groups: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name, stat = str(path.relative_to(root)), path.lstat()
        folder = path.is_dir() and not path.is_symlink()
        if excluded(name, folder):
            continue
        contents = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        same_file = name if folder else groups.setdefault(stat.st_ino, name)
        target = os.readlink(path) if path.is_symlink() else ""
        listed = [] if target else os.listxattr(path)
        attributes = tuple((x, os.getxattr(path, x)) for x in listed)
        seen[name] = (stat.st_mode, same_file, target, attributes, contents)
    return seen


def check(primary: Engine, second: Engine) -> None:
    time.sleep(0.3)
    mine, theirs = replicated(primary.raw), replicated(second.raw)
    differing = {n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n)}
    assert not differing, (sorted(differing), primary.name)
    primary.command("verify", repair=False)
    primary.wait_until(lambda: primary.status()["verify"]["state"] != "running", 60)
    result = primary.command("verify_result")["verify"]
    assert result["state"] == "done", result
    assert found(result) == {}, result


class Workers:
    def __init__(self, root: Path, seed: int) -> None:
        self.stop = threading.Event()
        self.work = [Work(root, seed * 10 + number) for number in range(3)]
        self.threads = [threading.Thread(target=w.run_until, args=(self.stop,)) for w in self.work]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads)
        assert [work.broken for work in self.work] == [None] * 3


def rounds(pair: Pair, seed: int, work_s: float) -> None:
    for folder in FOLDERS[1:]:
        (pair.a.tree / folder).mkdir(parents=True, exist_ok=True)
    pair.start()
    primary, second = pair.a, pair.b
    for number in range(2):
        had = second.status()["counters"]["resyncs"]
        workers = Workers(primary.tree, seed + number)
        with_errors = True
        try:
            time.sleep(work_s)
            before = second.status()["counters"]["resyncs"]
            second.kill()
            primary.wait_status(10, frozen=True)
            primary.command("continue_alone", epoch=pair.next_epoch())
            time.sleep(work_s)
            second.start()
            second.command("become_secondary", epoch=pair.epoch)
            pair.in_sync(primary)
            time.sleep(work_s)
            with_errors = False
        finally:
            if with_errors:
                with suppress(AssertionError):
                    workers.end()
        workers.end()
        assert before == had, "the copy was lost in step"
        assert second.status()["counters"]["resyncs"] == 1, "the resync did not hold"
        check(primary, second)
        epoch = pair.next_epoch()
        primary.command("become_secondary", epoch=epoch)
        second.command("become_primary", epoch=epoch, alone=False)
        pair.in_sync(second)
        primary, second = second, primary
    for engine in (pair.a, pair.b):
        for trouble in ("cannot apply", "could not be told", "not all names of"):
            assert trouble not in engine.log(), engine.log()[-3000:]


@pytest.mark.parametrize("pair", [OPTIONS | {"exclude": [*EXCLUDE, ".*"]}], indirect=True)
@pytest.mark.parametrize("seed", [100])
def test_random_work_over_the_border(pair: Pair, seed: int) -> None:
    rounds(pair, seed, 1.0)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pair", [OPTIONS | {"exclude": [*EXCLUDE, ".*"]}], indirect=True)
@pytest.mark.parametrize("seed", range(200, 400, 10))
def test_much_random_work_over_the_border(pair: Pair, seed: int) -> None:
    rounds(pair, seed, 3.0)
