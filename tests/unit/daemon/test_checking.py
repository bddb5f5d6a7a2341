"""Where and when checkers are asked, and what a verdict leads to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.engine_model import EngineModel
from tests.fakes.ports import Address, Application, Engine, Probe
from twofold.adapters.clock import Clock
from twofold.adapters.statefile import StateFile
from twofold.config.schema_checkers import Checker
from twofold.daemon import resources
from twofold.daemon.checking import HISTORY_MAX, Checking
from twofold.daemon.driver import Ended, ModuleDriver
from twofold.daemon.journal import Journal
from twofold.daemon.parts import Parts, Watched
from twofold.errors import ProbeNotMade
from twofold.machine.events import CheckerTripped, Event, ServiceExited
from twofold.machine.model import State, View
from twofold.ports import CheckerPort, Verdict

pytestmark = pytest.mark.timeout(20)


class Listening(ModuleDriver):
    """A driver that writes down what is posted, instead of deciding."""

    def __init__(self, root: Path, checkers: tuple[Watched, ...], state: State) -> None:
        self.posted: list[Event | Ended] = []
        self.jobs = 0
        self.application = Application([])
        super().__init__(
            "files",
            View(state=state),
            Parts(Engine(EngineModel("a"), []), self.application, Address([]), checkers),
            clock=Clock(),
            journal=Journal(root / "journal.sqlite"),
            state_file=StateFile(root / "state.json"),
            on_report=lambda _urgent: None,
        )
        self.posted.clear()

    def post(self, event: Event | Ended) -> None:
        self.posted.append(event)

    @property
    def jobs_begun(self) -> int:
        return self.jobs


class Bench:
    def __init__(self, root: Path, state: State, *checkers: Watched) -> None:
        self.driver = Listening(root, checkers, state)
        self.notes: list[tuple[str, str]] = []
        self.checking = Checking(self.driver, lambda s, text: self.notes.append((s, text)))

    def tally(self, name: str = "c"):
        return self.checking.asked[name].tally

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def asking(bench: Bench) -> AsyncGenerator[Bench]:
    task = asyncio.create_task(bench.checking.run())
    try:
        yield bench
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def watched(port: CheckerPort, failures: int = 1, side: str = "primary") -> Watched:
    return Watched(port, 0.005, failures, "restart", None, "tcp", side=side)


FAILING = [False] * 1000


async def test_on_the_node_that_serves_a_failure_is_an_event(tmp_path: Path) -> None:
    bench = Bench(tmp_path, State.PRIM, watched(Probe("c", list(FAILING)), failures=3))
    async with asking(bench):
        await bench.until(lambda: len(bench.driver.posted) >= 2)
    assert bench.driver.posted[0] == CheckerTripped("c", "restart", "no connection")
    assert bench.notes == []


@pytest.mark.parametrize(
    ("state", "side", "asked"),
    [
        (State.ALONE, "primary", True),
        (State.PRIM, "both", True),
        (State.PRIM, "second", False),
        (State.SECOND, "primary", False),
        (State.SECOND, "second", True),
        (State.SECOND, "both", True),
        (State.WAIT, "both", False),
        (State.STOP, "both", False),
    ],
)
async def test_where_it_is_asked(tmp_path: Path, state: State, side: str, asked: bool) -> None:
    bench = Bench(tmp_path, state, watched(Probe("c", []), side=side))
    async with asking(bench):
        await asyncio.sleep(0.1)
    assert (bench.tally().ok is not None) == asked


async def test_on_the_secondary_a_failure_is_one_alarm_and_its_end_is_told(tmp_path: Path) -> None:
    probe = Probe("c", [False] * 4)
    bench = Bench(tmp_path, State.SECOND, watched(probe, side="both"))
    async with asking(bench):
        await bench.until(lambda: len(bench.notes) == 2)
    assert bench.notes == [
        ("alarm", "checker c failed on a, the secondary (no connection)"),
        ("info", "checker c is well again on a: fine"),
    ]
    assert bench.driver.posted == []


class Unable:
    """A probe that this machine cannot make."""

    name = "c"

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    async def probe(self) -> Verdict:
        self.asked += 1
        raise self.error


@pytest.mark.parametrize("error", [ProbeNotMade("too slow"), ValueError("a bug")])
async def test_a_probe_that_was_not_made_says_nothing(tmp_path: Path, error: Exception) -> None:
    probe = Unable(error)
    bench = Bench(tmp_path, State.PRIM, watched(probe))
    async with asking(bench):
        await bench.until(lambda: probe.asked > 5)
    assert bench.driver.posted == []
    assert bench.tally().ok is None and "could not be asked" in bench.tally().text


async def test_a_probe_that_hangs_holds_up_only_itself(tmp_path: Path) -> None:
    class Hanging:
        name = "hangs"

        async def probe(self) -> Verdict:
            await asyncio.sleep(3600)
            return Verdict(True, "")

    bench = Bench(tmp_path, State.PRIM, watched(Hanging()), watched(Probe("c", [])))
    async with asking(bench):
        await bench.until(lambda: len(bench.tally().outcomes) > 10)
    assert bench.tally("hangs").ok is None


async def test_a_restart_begins_with_a_clean_tally_and_keeps_the_history(tmp_path: Path) -> None:
    probe = Probe("c", [True, False])
    bench = Bench(tmp_path, State.PRIM, watched(probe))
    async with asking(bench):
        await bench.until(lambda: len(bench.checking.asked["c"].history) == 3)
        bench.driver.view = replace(bench.driver.view, state=State.WAIT)
        await bench.until(lambda: bench.tally().ok is None)
    assert [c.ok for c in bench.checking.asked["c"].history] == [True, False, True]


async def test_a_restart_that_is_over_before_the_next_probe_counts_as_well(tmp_path: Path) -> None:
    probe = Probe("c", list(FAILING))
    bench = Bench(tmp_path, State.PRIM, watched(probe, failures=400))
    async with asking(bench):
        await bench.until(lambda: bench.tally().failures > 20)
        bench.driver.jobs += 1
        await bench.until(lambda: bench.tally().failures < 10)


async def test_the_history_is_bounded(tmp_path: Path) -> None:
    probe = Probe("c", [True, False] * 40)
    bench = Bench(tmp_path, State.PRIM, watched(probe))
    async with asking(bench):
        await bench.until(lambda: not probe.answers)
    assert len(bench.checking.asked["c"].history) <= HISTORY_MAX


async def test_one_that_comes_and_goes_is_an_alarm_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, State.PRIM, watched(Probe("c", [True, False] * 15), failures=2))
    async with asking(bench):
        await bench.until(lambda: bench.tally().unsteady)
        await bench.until(lambda: not bench.tally().unsteady)
    assert [s for s, text in bench.notes if "comes and goes" in text] == ["alarm"]
    assert bench.driver.posted == []  # never twice in a row


async def test_switched_off_it_is_not_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, State.PRIM, watched(Probe("c", list(FAILING))))
    bench.driver.checkers_off = frozenset({"c"})
    async with asking(bench):
        await asyncio.sleep(0.1)
        assert bench.tally().ok is None
        assert resources.verdicts(bench.checking)[0]["on"] is False
        bench.driver.checkers_off = frozenset()
        await bench.until(lambda: bench.tally().ok is False)
        bench.driver.checkers_off = frozenset({"*"})
        await bench.until(lambda: bench.tally().ok is None)


async def test_an_end_of_a_service_that_is_not_watched_has_no_consequence(tmp_path: Path) -> None:
    process = Watched(Probe("watch", []), 1, 1, "failover", "app", "process")
    bench = Bench(tmp_path, State.PRIM, process)
    ended = bench.driver.application.told
    ended("app", "code 1")
    ended("db", "code 2")
    bench.driver.checkers_off = frozenset({"watch"})
    ended("app", "code 3")
    ended("db", "code 4")
    bench.driver.checkers_off = frozenset({"*"})
    ended("db", "code 5")
    assert bench.driver.posted == [
        CheckerTripped("watch", "failover", "code 1"),
        ServiceExited("db", "code 2"),
        CheckerTripped("watch", "none", "code 3"),
        ServiceExited("db", "code 4"),
        CheckerTripped("db", "none", "code 5"),
    ]


async def test_resources_tell_what_counts_and_what_changed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, State.PRIM, watched(Probe("c", [True, True, False]), failures=1))
    async with asking(bench):
        await bench.until(lambda: len(bench.checking.asked["c"].history) == 3)
    (told,) = resources.checkers(bench.checking)
    assert (told["kind"], told["action"], told["ok"], told["on"]) == ("tcp", "restart", True, True)
    assert [change["ok"] for change in told["history"]] == [True, False, True]  # newest first
    assert told["history"][1]["text"] == "no connection"


async def test_thresholds_change_while_it_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, State.PRIM, watched(Probe("c", list(FAILING)), failures=100_000))
    async with asking(bench):
        await bench.until(lambda: bench.tally().failures >= 3)
        assert bench.driver.posted == []
        changed = {"name": "c", "kind": "tcp", "address": "127.0.0.1:1", "failures": 2}
        bench.checking.change_thresholds(
            [
                Checker.model_validate({**c, "interval": "10ms", "successes": 7})
                for c in (changed, {**changed, "name": "next"})
            ]
        )
        await bench.until(lambda: bool(bench.driver.posted))
    assert bench.driver.posted[0] == CheckerTripped("c", "restart", "no connection")
    kept = bench.checking.asked["c"]
    assert (kept.watched.interval_s, kept.tally.successes_to_clear) == (0.01, 7)
    assert list(bench.checking.asked) == ["c"]
