"""Two engines that lose each other again and again, from a seed, while files change.

Each loses its process or its power, is stopped, or does not answer for a while; the other goes on,
may fall itself, and what was away comes back, now and then as it was at an earlier moment. After
each time both copies are compared whole, by a walk that knows nothing of what the engines believe.
The engines make one checkpoint after the other, so that little is in doubt and much is believed to
be equal.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fs.compared import same
from tests.fs.cut_disk import CutDisk
from tests.fs.engines import Engine, Pair
from tests.fs.load import RandomLoad

MIB = 1 << 20
BIG_MAX = 24 * MIB
CHECKPOINT_EVERY_MS = 0


class SmallFiles(RandomLoad):
    """One file under several names, of which one is not known, has everything compared: so that is
    only done where it is asked for."""

    links = False

    def link(self) -> None:
        if self.links:
            super().link()

    def named(self) -> list[int]:
        return [d for d in super().named() if self.links or os.fstat(d).st_nlink == 0]


class BigFiles:
    """Files of several zones, of which a part changes at a time."""

    def __init__(self, root: Path, seed: int, links: bool = False) -> None:
        self.root, self.links = root, links
        self.rng = random.Random(seed)

    def fill(self) -> None:
        for number in range(3):
            (self.root / f"b{number}").write_bytes(self.rng.randbytes(self.rng.randrange(BIG_MAX)))
        for number in range(60):
            folder = self.root / f"e{number % 6}"
            folder.mkdir(exist_ok=True)
            (folder / f"s{number}").write_bytes(self.rng.randbytes(2000))

    def run_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(FileNotFoundError, FileExistsError):
                try:
                    self.step()
                except OSError as error:
                    if error.errno not in (39, 22, 16):
                        return  # the node is gone
            time.sleep(self.rng.random() * 0.02)

    def big(self) -> Path:
        return self.root / f"b{self.rng.randrange(4)}"

    def small(self) -> Path:
        return self.root / f"e{self.rng.randrange(6)}" / f"s{self.rng.randrange(60)}"

    def step(self) -> None:
        steps = [self.write] * 6 + [self.cut, self.stretch, self.rename, self.allocate]
        steps += [self.write_much]
        steps += [self.small_write, self.small_rename, self.move_directory]
        steps += [self.link, self.small_link] if self.links else []
        self.rng.choice(steps)()

    def write(self) -> None:
        with self.big().open("r+b", buffering=0) as file:
            file.seek(self.rng.randrange(BIG_MAX))
            file.write(self.rng.randbytes(self.rng.choice([1, 5000, 200_000])))

    def write_much(self) -> None:
        """What comes after it in a resync has to wait."""
        with self.big().open("r+b", buffering=0) as file:
            file.seek(self.rng.randrange(BIG_MAX // 2))
            file.write(self.rng.randbytes(6 * MIB))

    def cut(self) -> None:
        os.truncate(self.big(), self.rng.randrange(BIG_MAX))

    def stretch(self) -> None:
        """What was cut off and comes back is zeros."""
        path = self.big()
        size = path.stat().st_size
        os.truncate(path, self.rng.randrange(size + 1))
        os.truncate(path, size)

    def rename(self) -> None:
        self.big().rename(self.big())

    def link(self) -> None:
        one, other = self.big(), self.big()
        other.unlink()
        os.link(one, other)

    def allocate(self) -> None:
        with self.big().open("r+b") as file:
            os.posix_fallocate(file.fileno(), self.rng.randrange(BIG_MAX // 2), 300_000)

    def small_write(self) -> None:
        with self.small().open("r+b") as file:
            file.write(self.rng.randbytes(100))

    def small_rename(self) -> None:
        self.small().rename(self.small())

    def small_link(self) -> None:
        os.link(self.small(), self.root / f"e{self.rng.randrange(6)}" / "link")

    def move_directory(self) -> None:
        one, other = (self.root / f"e{number}" for number in self.rng.sample(range(6), 2))
        aside = self.root / "easide"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)


class Absences:
    def __init__(self, home: Path, seed: int, **options: object) -> None:
        self.rng = random.Random(seed)
        self.seed, self.home = seed, home
        self.links = self.rng.random() < 0.2
        self.snapshots = random.Random(f"{seed} snapshots").random() < 0.5
        often = {"checkpoint_every_ms": CHECKPOINT_EVERY_MS}
        self.pair = Pair(home / "pair", dirty_map=True, **(often | options))
        self.disks: dict[str, CutDisk] = {}
        self.parts = self.wholes = 0
        self.last: object = None
        self.told: list[str] = []
        for engine in (self.pair.a, self.pair.b):
            chance = random.Random(f"{seed} {engine.name}")
            disk = CutDisk(home / f"{engine.name}.img", home / f"disk {engine.name}", 320, chance)
            self.disks[engine.name] = disk
            for folder in ("tree", "state"):
                (disk.place / folder).mkdir()
            engine.tree = disk.place / "tree"
            engine.config["trees"] = [{"path": str(engine.tree)}]
            engine.config["state_dir"] = str(disk.place / "state")
        (self.pair.a.tree / "random").mkdir()
        (self.pair.a.tree / "big").mkdir()
        BigFiles(self.pair.a.tree / "big", seed).fill()
        os.sync()
        self.pair.start()
        self.primary, self.second = self.pair.a, self.pair.b

    # What befalls one node.

    def fall(self, engine: Engine) -> None:
        """Its process, and half of the time all that was not on its disk."""
        assert engine.process is not None
        power = self.rng.random() < 0.5
        self.told.append(f"{engine.name} loses its {'power' if power else 'process'}")
        engine.process.kill()
        engine.process.wait(10)
        engine.process = None
        engine.unmount()
        if power:
            self.disks[engine.name].cut()
            self.disks[engine.name].unmount()
            self.disks[engine.name].mount()

    def keep(self, engine: Engine) -> None:
        """A snapshot of the node's machine, while it runs."""
        self.told.append(f"snapshot of {engine.name}")
        self.disks[engine.name].snapshot()

    def bring_back(self, engine: Engine) -> None:
        """Now and then, what was kept takes the place of what the node had."""
        disk = self.disks[engine.name]
        if disk.has_snapshot() and self.rng.random() < 0.4:
            self.told.append(f"{engine.name} is brought back to its snapshot")
            disk.bring_back()

    def away(self, engine: Engine) -> Callable[[], None]:
        """The second is away in one of the ways; the answer brings it back."""
        kind = self.rng.choice(["falls", "falls", "stops", "silent"])
        self.told.append(f"{engine.name} {kind}")
        if kind == "silent":
            process = engine.process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            return lambda: process.send_signal(signal.SIGCONT)
        if kind == "stops":
            engine.stop()
        else:
            self.fall(engine)

        def back() -> None:
            self.bring_back(engine)
            engine.start()
            engine.command("become_secondary", epoch=self.pair.epoch)

        return back

    def goes_on(self) -> None:
        self.primary.wait_status(link="down")
        if self.primary.status()["frozen"]:
            self.primary.command("continue_alone", epoch=self.pair.next_epoch())

    def pause(self, longest_s: float) -> None:
        time.sleep(self.rng.random() * longest_s)

    def settled(self) -> None:
        """For as long as some checkpoints take, which are rarer where syncs are slow."""
        time.sleep(0.5 + self.rng.random() * 1.5)

    @contextmanager
    def load(self) -> Generator[None]:
        """Through the mount for as long as it is one: below it lies the bare directory."""
        stop = threading.Event()
        root = os.open(self.primary.tree, os.O_PATH | os.O_DIRECTORY)
        place = Path(f"/proc/self/fd/{root}")
        seed = self.rng.randrange(1 << 30)
        small, big = SmallFiles(place / "random", seed), BigFiles(place / "big", seed, self.links)
        small.links = self.links
        threads = [
            threading.Thread(target=each.run_until, args=(stop,), daemon=True)
            for each in (small, big)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
            os.close(root)

    # What happens.

    def second_goes(self) -> None:
        with self.load():
            self.settled()
            if self.snapshots and self.rng.random() < 0.4:
                self.keep(self.rng.choice([self.primary, self.second]))
                self.pause(0.5)
            back = self.away(self.second)
            self.goes_on()
            self.pause(0.3)
        if self.rng.random() < 0.3:
            self.fall(self.primary)
            self.primary.start()
            self.primary.command("become_primary", epoch=self.pair.next_epoch(), alone=True)
        with self.load():
            self.comes_back(back)

    def comes_back(self, back: Callable[[], None]) -> None:
        """Slowly at first, so that much waits for its turn; sometimes it is lost again."""
        slow = self.rng.random() < 0.6
        limit = self.rng.choice([1, 3]) * MIB if slow else None
        self.primary.command("set_resync_limit", bytes_per_s=limit)
        back()
        self.pause(0.8)
        if self.rng.random() < 0.4:
            self.told.append("once more")
            back = self.away(self.second)
            self.goes_on()
            self.pause(0.2)
            back()
            self.pause(0.4)
        self.primary.command("set_resync_limit", bytes_per_s=None)

    def primary_goes(self) -> None:
        with self.load():
            self.settled()
            if self.snapshots and self.rng.random() < 0.4:
                self.keep(self.rng.choice([self.primary, self.second]))
                self.pause(0.5)
            self.fall(self.primary)
        self.second.wait_status(link="down")
        self.primary, self.second = self.second, self.primary
        self.primary.command("become_primary", epoch=self.pair.next_epoch(), alone=True)
        self.second_returns()

    def second_returns(self) -> None:
        """With what it has changed since they were together, or not."""
        with self.load():
            self.pause(0.4)

        def back() -> None:
            self.bring_back(self.second)
            self.second.start()
            self.second.command("become_secondary", epoch=self.pair.epoch)

        with self.load():
            self.comes_back(back)

    def both_alone(self) -> None:
        """The one that is ahead gives way."""
        with self.load():
            self.pause(0.4)
            self.fall(self.second)
            self.goes_on()
            self.pause(0.3)
            self.fall(self.primary)
        self.told.append("both alone")
        self.primary, self.second = self.second, self.primary
        self.primary.start()
        fields = {"epoch": self.pair.next_epoch(), "alone": True, "force": True}
        self.primary.command("become_primary", **fields)
        self.second_returns()

    def both_fall(self) -> None:
        with self.load():
            self.pause(0.8)
            victims = [self.primary, self.second]
            self.rng.shuffle(victims)
            for victim in victims:
                self.fall(victim)
        for victim in victims:
            victim.start()
        self.primary.command("become_primary", epoch=self.pair.next_epoch(), alone=False)
        self.second.command("become_secondary", epoch=self.pair.epoch)

    def swap(self) -> None:
        with self.load():
            self.pause(0.5)
        self.primary.command("become_secondary", epoch=self.pair.next_epoch())
        self.second.command("become_primary", epoch=self.pair.epoch)
        self.primary, self.second = self.second, self.primary

    def run(self, count: int) -> None:
        kinds = [self.second_goes] * 3 + [self.primary_goes] * 3
        kinds += [self.both_alone, self.both_fall, self.swap]
        for number in range(count):
            kind = self.rng.choice(kinds)
            self.told.append(f"{number}: {kind.__name__} of {self.primary.name}")
            try:
                kind()
                self.pair.in_sync(self.primary, 60)
                self.count_resync()
                same(self.pair)
            except Exception as error:
                text = f"seed {self.seed}: {self.told}: {error}\n{self.pair.account()}"
                raise AssertionError(text) from error

    def count_resync(self) -> None:
        last = self.primary.status()["last_resync"]
        if last is not None and last != self.last:
            self.last = last
            self.parts += last["only_doubt"]
            self.wholes += not last["only_doubt"]
            self.told.append("a part" if last["only_doubt"] else f"everything: {self.why()}")

    def why(self) -> str:
        """What was said last of resyncs and of maps that are not believed."""
        said = ("does not fit", "is older than", "everything will be compared", "begins: ")
        lines = self.primary.log().splitlines()
        return "; ".join([line for line in lines if any(words in line for words in said)][-3:])

    def close(self) -> None:
        for engine in (self.pair.a, self.pair.b):
            if engine.process is not None and engine.process.poll() is None:
                engine.process.send_signal(signal.SIGCONT)
        self.pair.close()
        for disk in self.disks.values():
            disk.unmount()
        subprocess.run(["sync"], check=False)
        if str(self.home) not in Path("/proc/mounts").read_text():
            shutil.rmtree(self.home, ignore_errors=True)
