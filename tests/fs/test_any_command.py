"""Any command at any moment, while applications work and others look on, on both nodes: each is
answered, nobody waits for ever, and in the end both copies are equal and the mounts show them.

The commands are drawn from a seed. They are what a control plane, a person and the accidents of two
machines may ask of the engines, in any order that they allow.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair, Refused
from tests.fs.load import RandomLoad
from tests.fs.test_what_is_shown import names_below, shows_what_is_there

pytestmark = pytest.mark.timeout(300)
WORKERS_AT_EACH = 3
FILES = 6
BOUND_S = 15.0
STATUS_BOUND_S = 5.0


class Bystander(RandomLoad):
    """Goes on whatever it is told: it is refused on a second, and its node may be killed. While its
    node is down it must stand still (`busy`): there is no mount, and what it wrote would be written
    to the data below.
    """

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.busy = threading.Lock()

    def directory(self) -> Path:
        return self.rng.choice([self.root, self.root / "d0", self.root / "d1"])

    def name(self) -> Path:
        return self.directory() / f"f{self.rng.randrange(FILES)}"

    def let_go(self) -> None:
        for descriptor in self.held:
            with suppress(OSError):
                os.close(descriptor)
        self.held.clear()

    def look(self) -> None:
        self.name().stat()
        list(self.directory().iterdir())
        self.name().read_bytes()

    def step(self) -> None:
        with self.busy, suppress(OSError):
            if self.rng.random() < 0.4:
                self.look()
            else:
                super().step()
                return
        time.sleep(0.001)


class Bystanders:
    def __init__(self, pair: Pair, seed: int) -> None:
        self._stop = threading.Event()
        self.loads: list[Bystander] = []
        for tree in (pair.a.tree, pair.b.tree):
            for _ in range(WORKERS_AT_EACH):
                self.loads.append(Bystander(tree, seed * 100 + len(self.loads)))
        self._threads = [
            threading.Thread(target=self._run, args=(load,), daemon=True) for load in self.loads
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, load: Bystander) -> None:
        with suppress(OSError):  # of closing what it held, on a node that was killed
            load.run_until(self._stop)

    @contextmanager
    def still(self, engine: Engine) -> Generator[None]:
        """Those of this node do nothing meanwhile, and have let go what they held open."""
        with ExitStack() as all_of_them:
            for load in self.loads:
                if load.root == engine.tree:
                    all_of_them.enter_context(load.busy)
                    load.let_go()
            yield

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads), "a change is not answered"
        assert [load.broken for load in self.loads if load.broken is not None] == []


class Commander:
    """Knows who serves, and asks for one thing after another."""

    def __init__(self, pair: Pair, seed: int, bystanders: Bystanders) -> None:
        self.pair = pair
        self.rng = random.Random(seed)
        self._bystanders = bystanders
        self.primary, self.second = pair.a, pair.b
        self.done: list[str] = []
        self.accepted = 0

    def ask(self, engine: Engine, name: str, **fields: object) -> None:
        """Answered within the bound, and so is a question for the status beside it."""
        self.done.append(f"{engine.name} {name} {fields or ''}")
        with suppress(Refused):
            engine.command(name, BOUND_S, **fields)
            self.accepted += 1
        for each in (self.pair.a, self.pair.b):
            if each.process is not None:
                each.command("status", STATUS_BOUND_S)

    def hold(self) -> None:
        self.ask(self.primary, "freeze", epoch=self.pair.epoch)
        time.sleep(self.rng.random() * 0.05)
        self.ask(self.primary, "thaw", epoch=self.pair.epoch)

    def swap(self) -> None:
        if not self.primary.status()["peer_up_to_date"]:
            return
        epoch = self.pair.next_epoch()
        try:
            self.primary.command("become_secondary", BOUND_S, epoch=epoch)
        except Refused:  # the second was lost before it had everything: still primary
            return
        try:
            self.second.command("become_primary", BOUND_S, epoch=epoch, alone=False)
        except Refused:  # it has fallen behind since: who served goes on
            epoch = self.pair.next_epoch()
            self.primary.command("become_primary", BOUND_S, epoch=epoch, alone=True)
            self.ask(self.second, "become_secondary", epoch=epoch)
            self.done.append("not swapped")
            return
        self.done.append("swapped")
        self.primary, self.second = self.second, self.primary

    def the_second_dies(self) -> None:
        process = self.second.process
        assert process is not None
        process.kill()
        process.wait(10)
        self.second.process = None
        self.done.append(f"{self.second.name} died")
        time.sleep(self.rng.random() * 0.1)
        # Before a program is begun: its fork closes our files, which waits for what the kernel has.
        self.ask(self.primary, "continue_alone", epoch=self.pair.next_epoch())
        with self._bystanders.still(self.second):
            self.second.kill()
            self.second.start()
        self.ask(self.second, "become_secondary", epoch=self.pair.epoch)

    def goes_on_alone(self) -> None:
        self.ask(self.second, "outdate", epoch=self.pair.next_epoch())
        self.ask(self.primary, "continue_alone", epoch=self.pair.epoch)

    def the_second_stops(self) -> None:
        self.ask(self.second, "become_secondary", epoch=self.pair.epoch, follow=False)
        self.ask(self.primary, "estimate")

    def everything_is_compared(self) -> None:
        self.ask(self.primary, "resync")

    def verify(self) -> None:
        self.ask(self.primary, "verify", repair=self.rng.random() < 0.5)
        if self.rng.random() < 0.5:
            self.ask(self.primary, "stop_verify")
        self.ask(self.primary, "verify_result")

    def pace(self) -> None:
        limit = self.rng.choice([None, 1 << 20, 50 << 20])
        self.ask(self.primary, "set_resync_limit", bytes_per_s=limit)

    def wait(self) -> None:
        with suppress(AssertionError):
            self.pair.in_sync(self.primary, 2)

    def come_to_rest(self) -> None:
        """In step again. On a busy machine they may lose each other by themselves; then somebody
        has to say how to go on.
        """
        self.ask(self.primary, "set_resync_limit", bytes_per_s=None)
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            with suppress(AssertionError):
                self.pair.in_sync(self.primary, 3)
                return
            told = self.primary.status()
            if told["frozen"] and told["link"] == "down":
                self.goes_on_alone()
        self.pair.in_sync(self.primary, 1)

    def one(self) -> None:
        common: list[Callable[[], None]] = [self.hold, self.swap, self.swap, self.verify, self.wait]
        rare = [self.the_second_dies, self.goes_on_alone, self.everything_is_compared]
        self.rng.choice([*common, *rare, self.the_second_stops, self.pace, self.wait])()
        time.sleep(self.rng.random() * 0.1)


def play(pair: Pair, seed: int, commands: int) -> None:
    for folder in ("d0", "d1"):
        (pair.a.tree / folder).mkdir()
    pair.start()
    bystanders = Bystanders(pair, seed)
    commander = Commander(pair, seed, bystanders)
    try:
        for _ in range(commands):
            commander.one()
        commander.come_to_rest()
    except BaseException:
        print("\n".join(commander.done[-20:]))
        raise
    finally:
        bystanders.end()
    assert commander.accepted > commands / 4, commander.done
    commander.come_to_rest()
    same(pair)
    names = names_below(pair.a.raw) | names_below(pair.b.raw)
    for engine in (pair.a, pair.b):
        shows_what_is_there(engine, names)
        assert engine.status()["failed"] is None


@pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
def test_any_command_at_any_moment(pair: Pair) -> None:
    play(pair, 0, 25)


@pytest.mark.long
@pytest.mark.parametrize("pair", [{"sync": "write"}, {"sync": "fsync"}], indirect=True)
@pytest.mark.parametrize("seed", range(1, 41))
def test_many_commands_at_any_moment(pair: Pair, seed: int) -> None:
    play(pair, seed, 60)
