"""The driver does what was decided, in order, remembers first, and is never blocked by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

from tests.fakes.engine_model import EngineModel
from tests.fakes.ports import Address, Application, Engine, Probe
from tests.unit.machine.test_waking import ASLEEP, COPY, OFFER
from twofold.adapters.clock import Clock
from twofold.adapters.statefile import StateFile
from twofold.daemon.checking import Checking
from twofold.daemon.driver import ModuleDriver
from twofold.daemon.journal import Journal
from twofold.daemon.parts import Parts, Watched
from twofold.machine.events import (
    Found,
    Look,
    PeerHeard,
    PrimAsked,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import Report, Settings, State, View
from twofold.machine.rule import Answer
from twofold.wire import statefile

SERVES = Report(state=State.PRIM, epoch=2, generation=COPY.generation)


class Bench:
    """One module with everything around it in memory."""

    def __init__(self, root: Path, checkers: tuple[Watched, ...] = ()) -> None:
        self.story: list[str] = []
        self.reports: list[bool] = []
        self.engine = Engine(EngineModel("a"), self.story)
        self.application = Application(self.story)
        self.address = Address(self.story)
        self.file = StateFile(root / "state.json")
        self.journal = Journal(root / "journal.sqlite")
        now_s = Clock().monotonic_s()
        settings = Settings(heartbeat_timeout_s=0.2, max_loops=2, retry_s=0.1)
        view = View(settings=settings, now_s=now_s, since_s=now_s, peer_heard_s=now_s)
        self.driver = ModuleDriver(
            "files",
            view,
            Parts(self.engine, self.application, self.address, checkers),
            clock=Clock(),
            journal=self.journal,
            state_file=self.file,
            on_report=self.reports.append,
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.005)

    async def at_rest(self, state: State) -> None:
        await self.until(lambda: self.driver.view.state is state and self.driver.view.job is None)


@contextlib.asynccontextmanager
async def running(bench: Bench) -> AsyncGenerator[Bench]:
    task = asyncio.create_task(bench.driver.run())
    bench.driver.post(Found(None))
    try:
        await bench.until(lambda: bench.driver.found and bench.driver.view.job is None)
        bench.story.clear()
        yield bench
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_prim_serves_in_the_right_order_and_stop_ends_in_reverse(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        answer, _ = await bench.driver.ask(PrimAsked(), 5)
        assert answer is Answer.ACCEPT
        assert bench.story == [
            "release",
            "stop primary",
            "stop second",
            "stop both",
            "engine starts",
            "engine: become_primary",
            "hold",
            "start both",
            "start primary",
        ]
        bench.story.clear()
        assert (await bench.driver.ask(StopAsked(), 5))[0] is Answer.ACCEPT
        await bench.at_rest(State.STOP)
        assert bench.story == ["stop primary", "stop both", "release", "engine stops"]


async def test_the_epoch_is_on_disk_before_the_engine_hears_of_it(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        remembered: list[int] = []
        ask = bench.engine.command

        async def watched(name: str, **fields: object) -> object:
            if name == "become_primary":
                text = bench.file.read() or b""
                remembered.append(statefile.decode(text, View(), "state.json", 0.0).epoch)
                assert fields["epoch"] == remembered[-1]
            return await ask(name, **fields)

        bench.engine.command = watched  # type: ignore[method-assign]
        await bench.driver.ask(PrimAsked(), 5)
        assert remembered == [1]


async def test_refusals_come_back_as_sentences(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        answer, sentence = await bench.driver.ask(SwapAsked(), 5)
        assert answer is Answer.REFUSE
        assert sentence == "not possible: the module is stopped on a; start it first"


async def test_a_slow_start_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def never(side: str) -> None:
        bench.story.append(f"start {side}")
        await asyncio.sleep(60)

    async with running(bench):
        bench.application.start = never  # type: ignore[method-assign]
        assert await bench.driver.ask(PrimAsked(), 0.5) == (None, "")
        assert bench.driver.view.state is State.ALONE
        assert (await bench.driver.ask(StopAsked(), 5))[0] is Answer.ACCEPT
        await bench.at_rest(State.STOP)


async def test_a_start_that_fails_is_tried_again_up_to_max_loops(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.application.starts_fail = 9
    async with running(bench):
        answer, sentence = await bench.driver.ask(PrimAsked(), 5)
        assert answer is Answer.REFUSE and "2 attempts are enough" in sentence
        await bench.at_rest(State.STOP)
        assert bench.story.count("start primary") == 3
        assert not bench.address.is_held


async def test_a_dead_service_is_restarted_and_the_second_hears_of_nothing(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.driver.ask(PrimAsked(), 5)
        bench.story.clear()
        bench.application.told("app", "ended with code 1")
        await bench.until(lambda: bench.story.count("start primary") == 1)
        await bench.at_rest(State.ALONE)
        assert bench.story == ["stop primary", "start both", "start primary"]


async def test_a_checker_counts_before_it_acts(tmp_path: Path) -> None:
    probe = Probe("web", [True, False, True, False, False])
    bench = Bench(tmp_path, (Watched(probe, 0.01, 2, "restart", None),))
    checking = Checking(bench.driver)
    async with running(bench):
        await bench.driver.ask(PrimAsked(), 5)
        bench.story.clear()
        task = asyncio.create_task(checking.run())
        try:
            await bench.until(lambda: "start primary" in bench.story)
            assert not probe.answers, "the single failure before did not count"
        finally:
            task.cancel()


async def test_after_a_restart_of_the_daemon_it_goes_on(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.driver.ask(PrimAsked(), 5)
    again = Bench(tmp_path)
    again.engine.model = bench.engine.model
    task = asyncio.create_task(again.driver.run())
    try:
        from twofold.wire.mirror import engine_from

        again.driver.post(Found(engine_from(bench.engine.status()), application_runs=True))
        await again.at_rest(State.ALONE)
        assert again.story == ["hold"], "the application was not touched"
    finally:
        task.cancel()


async def test_why_is_in_the_journal(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.driver.ask(PrimAsked(), 5)
        await bench.driver.ask(StartAsked(), 5)
        rows = await bench.journal.read("files", 10, decisions=True)
        sentences = [row["sentence"] for row in rows]
        assert "a person says this node has the good data" in sentences
        assert sentences[-1] == "a serves already"


async def test_the_transition_script_hears_of_each_change_of_state(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.driver.ask(PrimAsked(), 5)
        await bench.at_rest(State.ALONE)
        await bench.until(lambda: len(bench.application.scripts) == 2)
        told = [words[:3] for words in bench.application.scripts]
        assert told == [("transition", "STOP", "WAIT"), ("transition", "WAIT", "ALONE")]
        assert bench.application.scripts[1][3].startswith("a person says that a has the good data")


async def test_a_checker_with_wait_is_asked_before_anything_begins(tmp_path: Path) -> None:
    """Not well: it does not begin to serve. Well: it does. Fails: it is stopped until well."""
    probe = Probe("gateway", [])
    probe.answers = [False] * 3
    watched = Watched(probe, interval_s=0.02, failures=2, action="wait", service=None)
    bench = Bench(tmp_path, (watched,))
    bench.driver.view = replace(
        bench.driver.view, settings=replace(bench.driver.view.settings, waits_for=("gateway",))
    )
    async with running(bench):
        checking = asyncio.create_task(Checking(bench.driver).run())
        bench.driver.post(PrimAsked())
        await bench.until(lambda: not probe.answers)
        assert "start primary" not in bench.story
        await bench.at_rest(State.ALONE)
        probe.answers = [False] * 4
        await bench.at_rest(State.WAIT)
        assert not bench.application.runs and not bench.address.is_held
        await bench.at_rest(State.ALONE)
        assert bench.application.runs
        checking.cancel()


async def test_it_ends_when_told_to_in_whatever_moment_an_event_comes(tmp_path: Path) -> None:
    """A cancellation that meets an event is not lost: whoever waits for the end would wait on."""
    for steps in range(8):
        (tmp_path / str(steps)).mkdir()
        bench = Bench(tmp_path / str(steps))
        task = asyncio.create_task(bench.driver.run())
        bench.driver.post(Found(None))
        await bench.until(lambda bench=bench: bench.driver.found)
        await asyncio.sleep(0.02)
        bench.driver.post(StopAsked())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2.0)
        if not done:
            task.cancel()
        assert done, f"it went on when it was ended {steps} steps after an event"


async def test_of_the_heartbeats_that_wait_only_the_last_is_decided_on(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.driver.ask(StartAsked(), 0.1)
        await bench.at_rest(State.WAIT)
        bench.story.clear()
        bench.driver.post(PeerHeard(Report(state=State.ALONE, epoch=3)))
        bench.driver.post(PeerHeard(Report(state=State.STOP, epoch=4)))
        await bench.until(lambda: bench.driver.view.peer is not None)
        assert bench.driver.view.peer == Report(state=State.STOP, epoch=4)
        await bench.at_rest(State.WAIT)
        assert "engine: become_secondary" not in bench.story, "it followed who served earlier"


async def test_what_cannot_be_remembered_is_not_taken(tmp_path: Path) -> None:
    """A dead disk: nobody serves in an epoch that a crash would make him forget."""
    bench = Bench(tmp_path)
    async with running(bench):
        bench.file.path.with_suffix(".json.new").mkdir()
        answer, _ = await bench.driver.ask(PrimAsked(), 0.5)
        assert answer is not Answer.ACCEPT
        assert "engine: become_primary" not in bench.story
        assert "cannot be written" in str(bench.driver.view)
        bench.file.path.with_suffix(".json.new").rmdir()
        await bench.at_rest(State.WAIT)
        assert (await bench.driver.ask(PrimAsked(), 5))[0] is Answer.ACCEPT
        assert "engine: become_primary" in bench.story


async def test_a_disk_that_is_mended_is_noticed_by_who_has_nothing_new(tmp_path: Path) -> None:
    """A claim writes nothing itself: a take-over that failed to be remembered, and was called off
    since, must not refuse it for ever."""
    bench = Bench(tmp_path)
    async with running(bench):
        now_s = bench.driver.now_s()
        bench.driver.view = replace(
            ASLEEP, settings=bench.driver.view.settings, now_s=now_s, peer_heard_s=now_s,
            peer=SERVES, synced_epoch=2,
        )  # fmt: skip
        bench.driver.post(Look())
        await bench.until(bench.file.path.exists)
        aside = bench.file.path.with_suffix(".json.new")
        aside.mkdir()
        bench.driver.post(PeerHeard(OFFER))
        await told(bench, "cannot be written")
        assert (bench.driver.view.state, bench.driver.view.epoch) == (State.SECOND, ASLEEP.epoch)
        bench.driver.post(PeerHeard(SERVES))
        await bench.until(lambda: bench.driver.view.peer == SERVES)
        aside.rmdir()
        bench.driver.post(Look())
        await told(bench, "can be written again")


async def told(bench: Bench, words: str) -> None:
    async with asyncio.timeout(5):
        while words not in str(await bench.journal.read("files", 20, severity="alarm")):
            await asyncio.sleep(0.005)


async def test_the_service_is_given_away_though_nothing_can_be_remembered(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with running(bench):
        await bench.driver.ask(PrimAsked(), 5)
        bench.story.clear()
        bench.file.path.with_suffix(".json.new").mkdir()
        assert (await bench.driver.ask(StopAsked(), 5))[0] is Answer.ACCEPT
        await bench.at_rest(State.STOP)
        assert bench.story == ["stop primary", "stop both", "release", "engine stops"]
