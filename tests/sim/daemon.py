"""`twofoldd` of one host: the real machine, driven as `daemon/driver.py` drives it.

What must survive is written before the peer is told, and the peer is told before anything is done;
between any two of these the process may die. Slow actions are one job at a time, short ones run
beside it; an engine command that was sent is carried out even if the daemon dies.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tests.sim import acting
from tests.sim.clockwork import Process
from tests.sim.planted import rows_without
from twofold.errors import MirrorRefused, TwofoldError
from twofold.machine.actions import NEEDS_MEMORY, Action, label
from twofold.machine.events import (
    AsideFailed,
    CheckerTripped,
    CheckerWell,
    EngineChanged,
    EngineGone,
    Event,
    Found,
    JobDone,
    JobFailed,
    Look,
    PeerHeard,
    TimerFired,
)
from twofold.machine.inbox import enqueue
from twofold.machine.model import Engine, Job, Report, State, View, report
from twofold.machine.rule import Rule, Severity
from twofold.machine.step import LOOK_EVERY_S, Decision, absorb, step
from twofold.machine.timers import next_moment_s
from twofold.wire import statefile

if TYPE_CHECKING:
    from tests.sim.host import Host

LOOKS_MAX = 20
BEAT_EVERY_S = 0.5
CHECK_EVERY_S = 1.0


class SimDaemon(Process):
    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.world = host.world
        now_s = host.clock_s()
        settings = self.world.settings_of(host.name)
        view = View(settings=settings, now_s=now_s, since_s=now_s, peer_heard_s=now_s)
        if host.disk.memory is not None:
            view = statefile.decode(host.disk.memory, view, "state.json", host.wall_s())
        host.incarnation += 1
        self.incarnation = host.incarnation
        self.view = view
        self.remembered = statefile.remembered(view)
        self.unwritten = False
        self.found = False
        self.status: Engine | None = None
        self.inbox: deque[Event | tuple[int, Event]] = deque()
        self.deciding = False
        self.counter = 0
        self.heard = (0, 0)
        self.said: Report | None = None
        self.job_number = 0
        self.job_action: Action | None = None
        self.alarms: list[str] = []
        self.bad_probes = 0
        self._read_s: dict[str, float] = {}
        self.last_s = now_s
        self.world.clockwork.after(self.world.clockwork.between(0.1, 0.6), self, self._look_around)

    def _ask_checker(self) -> None:
        """As `daemon/checking.py`: one with the action wait is asked wherever it may serve."""
        clockwork, view = self.world.clockwork, self.view
        clockwork.after(CHECK_EVERY_S / self.host.clock_rate, self, self._ask_checker)
        if view.state is State.STOP or view.job is not None:
            self.bad_probes = 0
            return
        self.bad_probes = self.bad_probes + 1 if self.host.unwell else 0
        for checker in view.settings.waits_for:
            if self.bad_probes and self.bad_probes % 2 == 0:
                self.post(CheckerTripped(checker, "wait", "no answer"))
            elif not self.bad_probes and checker in view.unwell:
                self.post(CheckerWell(checker))

    def _look_around(self) -> None:
        engine = self.host.engine
        if engine is not None and engine.alive:
            if engine.stopped:
                self.world.clockwork.after(1.0, self, self._look_around)
                return
            self.status = engine.status()
        self.post(Found(self.status, self.host.app.running))
        self._beat()
        self._wait()
        if self.view.settings.waits_for:
            self._ask_checker()

    # --- events ---------------------------------------------------------------------------------

    def post(self, event: Event | tuple[int, Event]) -> None:
        now_s, of = self.world.clockwork.now_s, source(event)
        at_s = max(now_s + self.host.lag_s(), self._read_s.get(of, 0.0))
        self._read_s[of] = at_s
        if at_s > now_s:
            self.world.clockwork.after(at_s - now_s, self, self._read, event)
        else:
            self._read(event)

    def _read(self, event: Event | tuple[int, Event]) -> None:
        enqueue(self.inbox, event)
        self._decide_all()

    def _decide_all(self) -> None:
        if not self.deciding and not self.stopped:
            self.deciding = True
            while self.inbox:
                item = self.inbox.popleft()
                if isinstance(item, tuple):
                    number, event = item
                    if number != self.job_number:
                        continue
                    self._handle(event)
                else:
                    self._handle(item)
            self.deciding = False

    def _handle(self, event: Event) -> None:
        for _ in range(LOOKS_MAX):
            if not self._decide(event).changed:
                return
            event = Look()
        self.world.broken(f"the rules of {self.host.name} do not come to rest: {self.view}")

    def _decide(self, event: Event) -> Decision:
        before = self.view
        self.last_s = self.host.clock_s()
        decision = step(absorb(before, event, self.last_s), event, self._rows)
        self._remember(decision.view)
        if self.unwritten and decision.waits_for_memory:
            decision = decision.undone()
        after = decision.view
        self.view = after
        self.found = self.found or isinstance(event, Found)
        if decision.loud:
            self._write_down(decision, event)
        said = report(after) if self.found else None
        if said is not None and said != self.said:
            last, self.said = self.said, said
            urgent = last is None or (said.state, said.offer, said.leaving) != (
                last.state,
                last.offer,
                last.leaving,
            )
            self.host.tick("daemon")
            self._send(said, urgent)
        self._act(decision)
        if decision.answer is not None:
            self.world.answered(self.host.name, decision.answer.value, decision.because)
        return decision

    def _remember(self, view: View) -> None:
        wanted, disk = statefile.remembered(view), self.host.disk
        if wanted == self.remembered and not self.unwritten:
            return
        self.host.tick("daemon")
        self.unwritten = disk.failing
        if disk.failing:
            return
        if self.world.plant != "memory not written" or disk.memory is None:
            disk.memory = statefile.encode(view, self.host.wall_s())
        self.remembered = wanted
        self.host.tick("daemon")

    def _begin(self, action: Action, done: acting.Done) -> None:
        if self.unwritten and isinstance(action, NEEDS_MEMORY):
            refused = MirrorRefused("io_error", "state.json cannot be written")
            self.world.clockwork.after(0.001, self, done, refused)
            return
        acting.begin(self.host, action, done)

    def _rows(self, state: State, event: type) -> tuple[Rule, ...]:
        return rows_without(self.world.plant, state, event)

    def _write_down(self, decision: Decision, event: Event) -> None:
        alarm = decision.rule.severity is Severity.ALARM
        if alarm:
            self.world.ledger.alarms.append(decision.because)
        if self.world.clockwork.telling:
            states = self.view.state.value
            if decision.before is not self.view.state:
                states = f"{decision.before.value} -> {states}"
            do = ", ".join(label(a) for a in decision.do)
            sign = "!" if alarm else ":"
            self.world.clockwork.write(f"{self.host.name} {states}{sign} {decision.because}")
            if do:
                self.world.clockwork.write(f"      {do}")

    def _wait(self) -> None:
        """The driver's sleep: until the next moment, at most `LOOK_EVERY_S`."""
        moment_s = next_moment_s(self.view)
        now_s = self.host.clock_s()
        idle_s = self.last_s + LOOK_EVERY_S - now_s
        if idle_s <= 0.001 or (moment_s is not None and moment_s <= now_s + 0.001):
            self.post(TimerFired())
            moment_s = next_moment_s(self.view)
            idle_s = LOOK_EVERY_S
        wait_s = idle_s if moment_s is None else min(idle_s, moment_s - now_s)
        delay_s = max(0.005, wait_s) / self.host.clock_rate
        self.world.clockwork.after(delay_s, self, self._wait)

    # --- heartbeats -----------------------------------------------------------------------------

    def _beat(self) -> None:
        if self.found:
            self._send(report(self.view), urgent=False)
        self.world.clockwork.after(BEAT_EVERY_S / self.host.clock_rate, self, self._beat)

    def _send(self, said: Report, urgent: bool) -> None:
        self.counter += 1
        world, peer = self.world, self.world.other(self.host)
        moment = (self.incarnation, self.counter)
        delay_s = world.network.datagram_delay_s(self.host.name)
        if urgent and (net := world.network.both_ways()) is not None:
            control_s = 0.002 + 2 * world.network.connected_delay_s(net, self.host.name)
            delay_s = control_s if delay_s is None else min(delay_s, control_s)
        if delay_s is not None:
            world.clockwork.after(delay_s, None, world.deliver, peer, moment, said)

    def hear(self, moment: tuple[int, int], said: Report) -> None:
        if moment > self.heard:
            self.heard = moment
            self.post(PeerHeard(said))

    def hear_waiting(self, heard: list[tuple[tuple[int, int], Report]]) -> None:
        """It goes on after a pause: the sockets are read before anything is decided."""
        before, self.deciding = self.deciding, True
        for moment, said in heard:
            self.hear(moment, said)
        self.deciding = before
        self._decide_all()

    def hear_status(self, status: Engine | None) -> None:
        if status is None:
            if self.status is not None:
                self.status = None
                self.post(EngineGone("the engine process ended"))
        elif status != self.status:
            self.status = status
            self.post(EngineChanged(status))

    # --- acting ---------------------------------------------------------------------------------

    def _act(self, decision: Decision) -> None:
        if decision.job is not None:
            self.job_number += 1
            self._work(self.job_number, decision.job, decision.do, 0)
            return
        if decision.rule.ends_job:
            self.job_number += 1
        for action in decision.do:
            self.host.tick("daemon")
            self._begin(action, self._aside_ended(action))

    def _aside_ended(self, action: Action) -> acting.Done:
        def ended(error: TwofoldError | None) -> None:
            if error is not None:
                self.post(AsideFailed(action, error.code, str(error)))

        return ended

    def _work(self, number: int, job: Job, do: tuple[Action, ...], index: int) -> None:
        """The actions in order; the first failure ends the job; another job ends it too."""
        if number != self.job_number:
            return
        if index == len(do):
            # A job without actions must not end within the decision that begins it.
            self.world.clockwork.after(0.0, self, self.post, (number, JobDone(job)))
            return
        action = do[index]
        self.host.tick("daemon")

        def ended(error: TwofoldError | None) -> None:
            if number != self.job_number:
                return
            if error is not None:
                self.post((number, JobFailed(job, action, error.code, str(error))))
            else:
                self._work(number, job, do, index + 1)

        self._begin(action, ended)

    def told(self, event: Event) -> None:
        """News that an action brings besides its end."""
        self.post(event)

    def picture(self) -> dict[str, Any]:
        return {"state": self.view.state.value, "job": self.view.job, "status": self.status}


def source(event: Event | tuple[int, Event]) -> str:
    """Where it comes from: what comes from one place is read in order, of two it is not known."""
    match event:
        case PeerHeard():
            return "network"
        case EngineChanged() | EngineGone() | Found():
            return "engine"
        case _:
            return "itself"
