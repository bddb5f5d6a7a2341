"""What the mount shows is what lies below it, whatever was under way as the roles changed.

The kernel remembers names, attributes and contents on the primary. Here nodes give way with changes
under way, which are done and answered with an error; the other serves and changes the same names;
and the first serves again, with the same mount.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair
from tests.fs.load import RandomLoad
from twofold.lab.compare import compare_trees

pytestmark = pytest.mark.timeout(300)
THREADS = 8
LEGAL = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
GIVEN_UP = {errno.EIO, errno.EROFS, errno.ESTALE}


class LoadOfTheLost(RandomLoad):
    """An application whose node gives way: from the first error of that on it is idle. It mostly
    changes names, and those of a small tree."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.given_up: str | None = None  # the error, and where it came from

    def directory(self) -> Path:
        return self.rng.choice([self.root, self.root / "d0", self.root / "d1"])

    def name(self) -> Path:
        return self.directory() / f"f{self.rng.randrange(8)}"

    def change_a_name(self) -> None:
        changes = [self.unlink, self.rename, self.make_directory, self.remove_directory]
        self.rng.choice([*changes, self.rename, self.unlink, self.write, self.append])()

    def step(self) -> None:
        if self.given_up:
            time.sleep(0.01)
            return
        try:
            if self.rng.random() < 0.3:
                super().step()
            else:
                self.change_a_name()
        except LEGAL:
            pass
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                return
            if error.errno not in GIVEN_UP:
                raise
            self.given_up = traceback.format_exc()
            self.let_go()

    def let_go(self) -> None:
        for descriptor in self.held:
            with suppress(OSError):  # of what the kernel held back, and lost
                os.close(descriptor)
        self.held.clear()


class Applications:
    def __init__(self, root: Path, seed: int) -> None:
        self._stop = threading.Event()
        self.loads = [LoadOfTheLost(root, seed * 10 + number) for number in range(THREADS)]
        self._threads = [
            threading.Thread(target=load.run_until, args=(self._stop,), daemon=True)
            for load in self.loads
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)
        assert [load.broken for load in self.loads] == [None] * THREADS


def names_below(root: Path) -> set[str]:
    """Also while applications work there."""
    found: set[str] = set()
    for place, folders, files in os.walk(root):
        found |= {os.path.relpath(os.path.join(place, name), root) for name in (*folders, *files)}
    return found


def account_of(engine: Engine, name: str) -> tuple[str, str, list[str]]:
    """The same file, or another one? With its number, names and size, as shown and as it lies."""
    told: list[str] = []
    for root in (engine.tree, engine.raw):
        try:
            stat = (root / name).lstat()
            told.append(f"number {stat.st_ino}, {stat.st_nlink} names, {stat.st_size} bytes")
        except OSError as error:
            told.append(str(error))
    return engine.name, name, told


def shows_what_is_there(engine: Engine, names: set[str]) -> None:
    """`names`: also of what was there once."""
    # The kernel may hold some back; that it lost some as the node gave way, it says here as well.
    subprocess.run(["sync", "-f", str(engine.tree)], check=False)
    # Under the `fsync` policy the kernel shows its own time of a write, a moment before the disk's.
    times = engine.config["sync"] == "write"
    found = compare_trees(engine.tree, engine.raw).differences
    differences = [each for each in found if times or each.what != "mtime"]
    assert not differences, [account_of(engine, each.path) for each in differences[:10]]
    there = {name for name in names if os.path.lexists(engine.raw / name)}
    shown = {name for name in names if os.path.lexists(engine.tree / name)}
    assert shown == there, (engine.name, shown ^ there)


def gives_way(pair: Pair, primary: Engine, second: Engine, seed: int) -> set[str]:
    """The second falls silent while applications work; returns the names that there were."""
    applications = Applications(primary.tree, seed)
    time.sleep(0.4)
    assert second.process is not None
    second.process.send_signal(signal.SIGSTOP)
    names = names_below(primary.raw)
    primary.wait_status(10, frozen=True)
    # Not unmounted yet: that takes a program, and the fork of this process would close its files of
    # the mount, which waits for what the kernel holds of them.
    second.process.send_signal(signal.SIGKILL)
    second.process.wait(10)
    primary.command("become_secondary", epoch=pair.next_epoch())
    until = time.monotonic() + 10
    while not all(load.given_up for load in applications.loads):
        assert time.monotonic() < until, "each has met the error"
        time.sleep(0.02)
    applications.end()
    second.kill()
    return names | names_below(primary.raw)


def rounds(pair: Pair, seed: int, count: int) -> None:
    pair.start()
    primary, second = pair.a, pair.b
    names: set[str] = set()
    for number in range(count):
        names |= gives_way(pair, primary, second, seed + 2 * number)
        second.start()
        second.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True)
        applications = Applications(second.tree, seed + 2 * number + 1)
        pair.in_sync(second)
        time.sleep(0.3)
        applications.end()
        assert [load.given_up for load in applications.loads] == [None] * THREADS
        names |= names_below(second.raw)
        same(pair)
        shows_what_is_there(second, names)
        second.command("become_secondary", epoch=pair.next_epoch())
        primary.command("become_primary", epoch=pair.epoch, alone=False)
        pair.in_sync(primary)
        shows_what_is_there(primary, names)
        shows_what_is_there(second, names)
        same(pair)
        # Who was killed has a new mount and remembers nothing: the roles are exchanged for it.
        primary.command("become_secondary", epoch=pair.next_epoch())
        second.command("become_primary", epoch=pair.epoch, alone=False)
        pair.in_sync(second)
        shows_what_is_there(second, names)
        primary, second = second, primary


@pytest.mark.parametrize("pair", [{"sync": "fsync"}], indirect=True)
def test_who_kept_a_file_open_over_changes_of_role_does_not_write_beside_the_others(
    pair: Pair,
) -> None:
    """It and they have each a size and contents of their own in the kernel."""
    pair.start()
    file = pair.a.tree / "file"
    kept = os.open(file, os.O_CREAT | os.O_RDWR)
    try:
        os.write(kept, b"one")
        os.fsync(kept)
        for primary, second in ((pair.a, pair.b), (pair.b, pair.a)):
            primary.command("become_secondary", epoch=pair.next_epoch())
            second.command("become_primary", epoch=pair.epoch, alone=False)
            pair.in_sync(second)
            if second is pair.b:
                (pair.b.tree / "file").write_bytes(b"two, and longer")
        with suppress(OSError):
            os.pwrite(kept, b"x" * 100, 50)
            os.fsync(kept)
            pytest.fail("it was told that this is written")
        assert file.read_bytes() == b"two, and longer"
        shows_what_is_there(pair.a, {"file"})
        with file.open("ab") as anew:
            anew.write(b"!")
        assert file.read_bytes() == b"two, and longer!"
    finally:
        with suppress(OSError):
            os.close(kept)
    shows_what_is_there(pair.a, {"file"})
    same(pair)


@pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
def test_the_mount_shows_what_is_there(pair: Pair) -> None:
    rounds(pair, 0, 2)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
@pytest.mark.parametrize("seed", range(10_000, 30_000, 1000))
def test_the_mount_shows_what_is_there_many_times(pair: Pair, seed: int) -> None:
    rounds(pair, seed, 3)
