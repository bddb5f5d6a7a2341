"""One module's life: take an event, decide, remember, write down, act; results are events again.

There is one queue and one task that decides. Slow actions run in a second task, so that the queue
goes on: heartbeats are answered and a second that is lost in the middle of a long start is noticed.
Order kept for each decision: what must survive is on disk, then the peer is told, then it is done.
When the disk takes nothing any more, all is done but what needs that memory: the service can be
given away, not taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from twofold.adapters.statefile import StateFile
from twofold.daemon.journal import Entry, Journal
from twofold.daemon.parts import Parts, Told, perform
from twofold.daemon.transitions import Transitions
from twofold.errors import MirrorFailed, MirrorRefused, TwofoldError
from twofold.machine.actions import NEEDS_MEMORY, Action, label
from twofold.machine.events import (
    AsideFailed,
    CheckerTripped,
    EngineChanged,
    EngineGone,
    Event,
    Found,
    JobDone,
    JobFailed,
    Look,
    RelationKnown,
    ServiceExited,
    TimerFired,
)
from twofold.machine.inbox import enqueue
from twofold.machine.model import Engine, Job, Report, Settings, View, report
from twofold.machine.rule import Answer, Severity
from twofold.machine.sentences import rescue_news
from twofold.machine.step import LOOK_EVERY_S, Decision, absorb, step
from twofold.machine.timers import next_moment_s
from twofold.ports import ClockPort
from twofold.wire import statefile
from twofold.wire.mirror import engine_from

QUEUE_MAX = 1000
LOOKS_MAX = 20
log = logging.getLogger("twofold.driver")


@dataclass(frozen=True)
class Ended:
    """The end of job number `number`; of an earlier one it is not news any more."""

    number: int
    event: JobDone | JobFailed


class Inbox(asyncio.Queue[Event | Ended]):
    """The queue of what waits, with the rule of `twofold.machine.inbox`."""

    _queue: deque[Event | Ended]

    def _put(self, item: Event | Ended) -> None:
        enqueue(self._queue, item)


class ModuleDriver:
    """`on_report(urgent)` is called when this node has something new to say about the module."""

    def __init__(
        self,
        name: str,
        view: View,
        parts: Parts,
        *,
        clock: ClockPort,
        journal: Journal,
        state_file: StateFile,
        on_report: Callable[[bool], None],
        digest: str = "",
    ) -> None:
        self.name = name
        self.view = view
        self.parts = parts
        self.status: Mapping[str, Any] | None = None  # the engine's, as it said it
        self.status_heard = False
        self._engine_before: Engine | None = None
        self.found = False
        self.digest = digest
        self.checkers_off: frozenset[str] = frozenset()  # switched off by a person; "*" is all
        self._clock = clock
        self._journal = journal
        self._state_file = state_file
        self._on_report = on_report
        self._remembered: tuple[object, ...] | None = statefile.remembered(view)
        self._unwritten = ""  # why the view could not be remembered
        self._queue = Inbox(QUEUE_MAX)
        self._said: Report | None = None
        self._job: asyncio.Task[None] | None = None
        self._job_number = 0
        self._asides: set[asyncio.Task[None]] = set()
        self._asking: list[tuple[Event, asyncio.Future[tuple[Answer, str]]]] = []
        self._exits = {w.service: w for w in parts.checkers if w.service is not None}
        self._transitions = Transitions(parts.application.script, self._alarm)
        self._told = Told(self._hear_status, lambda r: self.post(RelationKnown(r)), self.post)
        parts.engine.on_status(self._hear_status)
        parts.application.on_exit(self._hear_exit)

    @property
    def report(self) -> Report | None:
        """What this node says in heartbeats; nothing before it knows what runs."""
        return report(self.view, self.digest) if self.found else None

    def now_s(self) -> float:
        return self._clock.monotonic_s()

    @property
    def jobs_begun(self) -> int:
        """Rises with each start, restart and stop: what was seen before says nothing after."""
        return self._job_number

    def wall_s(self) -> float:
        return self._clock.wall_s()

    def is_off(self, checker: str) -> bool:
        return not self.checkers_off.isdisjoint((checker, "*"))

    def post(self, event: Event | Ended) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.error("%s: too much happens at once; %s is lost", self.name, event)

    def change_settings(self, settings: Settings) -> None:
        self.view = replace(self.view, settings=settings)
        self.post(Look())

    async def ask(self, event: Event, timeout_s: float) -> tuple[Answer | None, str]:
        """A person's command: how it is answered, or None when that is still open."""
        answer: asyncio.Future[tuple[Answer, str]] = asyncio.get_running_loop().create_future()
        self._asking.append((event, answer))
        self.post(event)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(answer)
        except TimeoutError:
            return None, ""
        finally:
            self._asking = [(e, a) for e, a in self._asking if a is not answer]
            answer.cancel()

    async def run(self) -> None:
        """Until cancelled; then the module goes on without us."""
        try:
            while True:
                await self._handle(await self._next())
        finally:
            await self._transitions.close()
            for task in (*self._asides, *([self._job] if self._job else [])):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _next(self) -> Event:
        while True:
            moment_s = next_moment_s(self.view)
            wait_s = LOOK_EVERY_S
            if moment_s is not None:
                wait_s = min(wait_s, max(0.0, moment_s - self._clock.monotonic_s()))
            try:
                # Not wait_for: before Python 3.12 it loses a cancellation that meets an event.
                async with asyncio.timeout(wait_s):
                    event = await self._queue.get()
            except TimeoutError:
                return TimerFired()
            if not isinstance(event, Ended):
                return event
            if event.number == self._job_number:
                return event.event

    async def _handle(self, event: Event) -> None:
        """One event, and what follows from it at once."""
        for _ in range(LOOKS_MAX):
            decision = await self._decide(event)
            if not decision.changed:
                return
            event = Look()
        log.error("%s: the rules do not come to rest at %s", self.name, event)

    async def _decide(self, event: Event) -> Decision:
        before = self.view
        decision = step(absorb(before, event, self._clock.monotonic_s()), event)
        await self._remember(decision.view)
        if self._unwritten and decision.waits_for_memory:
            decision = decision.undone()
        self.view = decision.view
        self.found = self.found or isinstance(event, Found)
        if decision.loud:
            self._write_down(event, decision)
        self._tell_peer(before)
        self._act(decision)
        if decision.view.state is not decision.before:
            self._transitions.tell(decision.before, decision.view.state, decision.because)
        self._answer(event, decision)
        return decision

    async def _remember(self, view: View) -> None:
        """On disk when this returns, or `_unwritten` says why not; then the next tries again, also
        when it has nothing new to remember: what needs the memory asks whether there is one."""
        wanted = statefile.remembered(view)
        if wanted == self._remembered and not self._unwritten:
            return
        try:
            await self._state_file.write(statefile.encode(view, self._clock.wall_s()))
        except OSError as e:
            if not self._unwritten:
                self._unwritten = f"{self._state_file.path} cannot be written: {e.strerror or e}"
                can = "this node can give the service away, not take it"
                self._decisive("MemoryLost", f"{self._unwritten}; {can}")
            return
        if self._unwritten:
            self._decisive("MemoryBack", f"{self._state_file.path} can be written again")
        self._remembered, self._unwritten = wanted, ""

    def _write_down(self, event: Event, decision: Decision) -> None:
        severity = "alarm" if decision.rule.severity is Severity.ALARM else "info"
        self._journal.write(
            Entry(
                at=self._clock.wall_s(),
                module=self.name,
                severity=severity,
                sentence=decision.because,
                decision=True,
                state=decision.before.value,
                event=type(event).__name__,
                then=decision.view.state.value,
                actions=", ".join(label(a) for a in decision.do),
            )
        )

    def _alarm(self, sentence: str) -> None:
        self._journal.write(Entry(self._clock.wall_s(), self.name, "alarm", sentence))

    def _decisive(self, event: str, sentence: str) -> None:
        """An alarm that who asks why must see: it decides what this node may do, or lost."""
        state = self.view.state.value
        self._journal.write(
            Entry(
                self._clock.wall_s(), self.name, "alarm", sentence,
                decision=True, state=state, event=event, then=state,
            )
        )  # fmt: skip

    def _tell_peer(self, before: View) -> None:
        said = self.report
        if said is None or said == self._said:
            return
        last, self._said = self._said, said
        urgent = last is None or (said.state, said.offer, said.leaving) != (
            last.state,
            last.offer,
            last.leaving,
        )
        self._on_report(urgent)

    def _answer(self, event: Event, decision: Decision) -> None:
        if decision.answer is None:
            return
        of_command = [a for e, a in self._asking if e is event]
        for answer in of_command or [a for _, a in self._asking]:
            if not answer.done():
                answer.set_result((decision.answer, decision.because))

    # --- acting ---------------------------------------------------------------------------------

    def _act(self, decision: Decision) -> None:
        if decision.job is not None:
            before, self._job_number = self._job, self._job_number + 1
            number, job = self._job_number, decision.job
            self._job = asyncio.create_task(self._work(before, number, job, decision.do))
            return
        if decision.rule.ends_job:
            self._job_number += 1
        for action in decision.do:
            task = asyncio.create_task(self._aside(action))
            self._asides.add(task)
            task.add_done_callback(self._asides.discard)

    async def _work(
        self, before: asyncio.Task[None] | None, number: int, job: Job, do: tuple[Action, ...]
    ) -> None:
        """The actions in order; the first failure ends the job."""
        if before is not None and not before.done():
            before.cancel()
            await asyncio.wait([before])
        for action in do:
            failure = await self._try(action)
            if failure is not None:
                self.post(Ended(number, JobFailed(job, action, *failure)))
                return
        self.post(Ended(number, JobDone(job)))

    async def _aside(self, action: Action) -> None:
        failure = await self._try(action)
        if failure is not None:
            self.post(AsideFailed(action, *failure))

    async def _try(self, action: Action) -> tuple[str, str] | None:
        """None, or (reason, text) of the failure."""
        if self._unwritten and isinstance(action, NEEDS_MEMORY):
            return "io_error", self._unwritten
        theirs = self.view.peer.generation if self.view.peer else None
        try:
            await perform(self.parts, action, theirs, self._told)
        except MirrorRefused as e:
            return e.reason, str(e)
        except TwofoldError as e:
            return e.code, str(e)
        except Exception as e:
            log.exception("%s: %s failed", self.name, label(action))
            return "bug", f"{label(action)} failed: {type(e).__name__}: {e}"
        return None

    # --- what the parts tell ----------------------------------------------------------------------

    def _hear_status(self, status: Mapping[str, Any] | None) -> None:
        self.status, self.status_heard = status, True
        if status is None:
            self.post(EngineGone("the engine process ended"))
            return
        try:
            engine = engine_from(status)
            self._tell_of_rescues(engine)
            self.post(EngineChanged(engine))
        except MirrorFailed as e:
            log.error("%s: %s", self.name, e)

    def _tell_of_rescues(self, engine: Engine) -> None:
        before, self._engine_before = self._engine_before, engine
        for sentence in rescue_news(before, engine, self.name):
            self._decisive("Rescue", sentence)

    def _hear_exit(self, service: str, why: str) -> None:
        checker = self._exits.get(service)
        if checker is not None:
            off = self.is_off(checker.port.name)
            self.post(CheckerTripped(checker.port.name, "none" if off else checker.action, why))
        elif self.is_off(service):
            self.post(CheckerTripped(service, "none", why))
        else:
            self.post(ServiceExited(service, why))
