"""A light module's whole life, driven as the daemon drives it, with an application in memory."""

from __future__ import annotations

from twofold.machine.actions import Action, HoldAddress, ReleaseAddress, label
from twofold.machine.events import (
    CheckerTripped,
    CheckerWell,
    Event,
    Found,
    JobDone,
    JobFailed,
    Look,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    ServiceExited,
    StartAsked,
    StopAsked,
    SwapAsked,
    TimerFired,
)
from twofold.machine.model import Job, Kind, Readiness, Settings, State, View, readiness
from twofold.machine.sentences import explain
from twofold.machine.step import absorb, step


class Machine:
    """Does each action at once; a start may fail."""

    def __init__(self, waits_for: tuple[str, ...] = (), max_loops: int = 3) -> None:
        settings = Settings(kind=Kind.LIGHT, waits_for=waits_for, max_loops=max_loops)
        self.view = View(settings=settings)
        self.now_s = 0.0
        self.runs = self.address = False
        self.starts_fail = self.stops_fail = 0
        self.said: list[str] = []
        self.answers: list[str] = []
        self.tell(Found(None))
        self.said.clear()

    def tell(self, event: Event) -> None:
        decision = step(absorb(self.view, event, self.now_s), event)
        self.view = decision.view
        if decision.loud:
            self.said.append(decision.because)
        if decision.answer is not None:
            self.answers.append(f"{decision.answer.value}: {decision.because}")
        if decision.job is not None:
            self.tell(self._work(decision.job, decision.do))
        elif decision.changed:
            self.tell(Look())

    def _work(self, job: Job, do: tuple[Action, ...]) -> Event:
        for action in do:
            if isinstance(action, HoldAddress | ReleaseAddress):
                self.address = isinstance(action, HoldAddress)
            elif label(action) == "start application (primary)":
                if self.starts_fail:
                    self.starts_fail -= 1
                    return JobFailed(job, action, "start_failed", "it ended with code 1")
                self.runs = True
            elif label(action) == "stop application (primary)":
                if self.stops_fail:
                    self.stops_fail -= 1
                    return JobFailed(job, action, "stop_failed", "process 77 survived")
                self.runs = False
        return JobDone(job)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.tell(TimerFired())


def started(max_loops: int = 3) -> Machine:
    machine = Machine(max_loops=max_loops)
    machine.tell(StartAsked())
    assert machine.answers == ["accept: a runs it"]
    assert (machine.view.state, machine.runs, machine.address) == (State.UP, True, True)
    return machine


def test_start_and_stop() -> None:
    machine = started()
    assert readiness(machine.view) is Readiness.READY
    assert explain(machine.view, "web") == ("Running.", "Nothing to do.")
    machine.tell(StopAsked())
    assert (machine.view.state, machine.runs, machine.address) == (State.STOP, False, False)
    assert not machine.view.wanted


def test_a_service_that_ends_is_restarted_until_it_is_enough() -> None:
    machine = started(max_loops=2)
    for _ in range(2):
        machine.tell(ServiceExited("web", "exit code 1"))
        assert machine.view.state is State.UP
    machine.tell(ServiceExited("web", "exit code 1"))
    assert (machine.view.state, machine.runs, machine.address) == (State.STOP, False, False)
    assert "2 times is enough: the module stops" in machine.said[-2]
    assert "Last failure: service web: exit code 1" in explain(machine.view, "web")[0]


def test_one_that_does_not_start_rests_between_the_attempts() -> None:
    machine = Machine(max_loops=2)
    machine.starts_fail = 9
    machine.tell(StartAsked())
    assert machine.view.state is State.WAIT and not machine.address
    machine.wait(1)
    assert machine.starts_fail == 8, "not yet"
    machine.wait(5)
    machine.wait(6)
    assert machine.view.state is State.STOP
    assert "2 attempts are enough" in machine.answers[-1]


def test_a_checker_with_wait_holds_up_the_start_and_stops_what_runs() -> None:
    machine = Machine(waits_for=("gateway",))
    machine.tell(StartAsked())
    assert machine.view.state is State.WAIT
    assert explain(machine.view, "web")[0] == "Waiting until checker gateway is well."
    machine.tell(CheckerWell("gateway"))
    assert machine.view.state is State.UP
    machine.tell(CheckerTripped("gateway", "wait", "no answer"))
    assert (machine.view.state, machine.runs, machine.address) == (State.WAIT, False, False)
    machine.tell(CheckerWell("gateway"))
    assert machine.view.state is State.UP


def test_restart_by_a_person_forgets_what_failed() -> None:
    machine = started(max_loops=1)
    machine.tell(ServiceExited("web", "exit code 1"))
    machine.tell(RestartAsked())
    assert machine.view.loops_s == ()
    machine.tell(ServiceExited("web", "exit code 1"))
    assert machine.view.state is State.UP


def test_a_stop_that_fails_is_an_alarm_and_ends_in_stop() -> None:
    machine = started()
    machine.stops_fail = 1
    machine.tell(StopAsked())
    assert machine.view.state is State.STOP
    assert "process 77 survived" in explain(machine.view, "web")[0]


def test_what_only_a_mirror_knows_is_refused_in_words() -> None:
    machine = started()
    for event in (PrimAsked(), SecondAsked(), SwapAsked()):
        machine.tell(event)
        assert machine.answers[-1].startswith("refuse: not possible: a light module")


def test_a_new_daemon_finds_what_runs_or_starts_what_was_wanted() -> None:
    machine = started()
    machine.view = View(settings=machine.view.settings, wanted=True)
    machine.tell(Found(None, application_runs=True))
    assert machine.view.state is State.UP and machine.runs
    machine.runs = machine.address = False
    machine.view = View(settings=machine.view.settings, wanted=True)
    machine.tell(Found(None))
    assert machine.view.state is State.UP and machine.runs and machine.address
