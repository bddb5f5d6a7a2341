"""Two machines, two model engines and the way between them, all in memory and step by step.

Nothing happens by itself: `messages`, `jobs` and `links` are advanced one by one, in the order a
test (or hypothesis) chooses. `settle` advances everything until nothing is left to do; `pass_time`
lets the clock go on with heartbeats. Whatever is decided is written down in `story`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from tests.fakes.engine_model import EngineModel, finish_copy, link, relation
from tests.fakes.machine import Machine
from tests.fakes.witnesses import Witnesses
from twofold.errors import MirrorFailed, TwofoldError
from twofold.machine.actions import Action, AskRelation, ClaimEpoch, EnsureEngine, label
from twofold.machine.arbitration import Claim, term_of
from twofold.machine.events import (
    AsideFailed,
    EngineChanged,
    EngineGone,
    Event,
    Found,
    JobDone,
    JobFailed,
    Look,
    PeerHeard,
    PrimAsked,
    RelationKnown,
    ServiceExited,
    StartAsked,
    TimerFired,
)
from twofold.machine.model import (
    REMEMBERED,
    Relation,
    Settings,
    State,
    View,
    readiness,
    report,
)
from twofold.machine.step import LOOK_EVERY_S, absorb, step
from twofold.machine.timers import next_moment_s


def pair(**settings: object) -> World:
    """Two nodes of which a serves and b follows; the story begins here."""
    world = World(**settings)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    world.pass_time(1)
    world.story.clear()
    return world


class World:
    def __init__(self, **settings: object) -> None:
        self.now_s = 100.0
        self.story: list[str] = []
        self.heartbeats_pass = True
        self.flow_passes = True
        self.hold_copies = False
        self.frozen: set[str] = set()
        self.broken_engines: set[str] = set()
        self.witnesses = Witnesses()
        self.acknowledged = 0
        self.claims: deque[tuple[str, int]] = deque()
        self.machines: dict[str, Machine] = {}
        self.settings = settings
        for name in ("a", "b"):
            self._build(name)
        for name in ("a", "b"):
            self.tell(name, Found(None))
        self.settle()

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def other(self, name: str) -> Machine:
        return self.machines["b" if name == "a" else "a"]

    def boot(self, name: str) -> None:
        """Power on: what was remembered and the disk are there, nothing else."""
        self.write(f"-- power on of {name}")
        self._build(name)
        self.tell(name, Found(None))

    def _build(self, name: str) -> None:
        old = self.machines.get(name)
        peer = "b" if name == "a" else "a"
        settings = Settings(node=name, peer=peer, **self.settings)  # type: ignore[arg-type]
        view = View(settings=settings, now_s=self.now_s, peer_heard_s=self.now_s)
        engine = EngineModel(name)
        if old is not None:
            kept = {key: getattr(old.view, key) for key in REMEMBERED}
            view, engine = (
                replace(view, **kept),
                EngineModel(name, disk=old.engine.disk, data=old.engine.data),
            )
        self.machines[name] = Machine(name, view, engine)

    def power_cut(self, name: str) -> None:
        self.write(f"-- power cut of {name}")
        m = self[name]
        m.alive, m.app, m.address = False, False, False
        m.todo.clear()
        m.inbox.clear()
        m.engine.crash()

    def restart_daemon(self, name: str) -> None:
        """kill -9 of twofoldd and a new one; engine, application and address live on."""
        self.write(f"-- the daemon of {name} is killed and started again")
        m = self[name]
        kept = {key: getattr(m.view, key) for key in REMEMBERED}
        m.view = replace(
            View(settings=m.view.settings, now_s=self.now_s, peer_heard_s=self.now_s), **kept
        )
        m.todo.clear()
        m.inbox.clear()
        m.status = m.engine.status() if m.engine.running else None
        self.tell(name, Found(m.status, m.app))

    def write(self, line: str) -> None:
        self.story.append(f"{self.now_s - 100:7.1f}  {line}")

    # --- one event ------------------------------------------------------------------------------

    def tell(self, name: str, event: Event) -> None:
        m = self[name]
        view = absorb(m.view, event, self.now_s)
        decision = step(view, event)
        m.view = decision.view
        if decision.loud:
            self._narrate(m, decision.before, decision.because, decision.do)
        if decision.answer is not None:
            m.answers.append((decision.answer.value, decision.because))
        if decision.job is not None:
            m.todo = deque(decision.do)
        elif decision.rule.ends_job:
            m.todo.clear()
        else:
            for action in decision.do:
                self._aside(m, action)
        self._say(m)
        if decision.changed:
            self.tell(name, Look())

    def _narrate(self, m: Machine, before: State, because: str, do: tuple[Action, ...]) -> None:
        moved = m.view.state.value
        if before is not m.view.state:
            moved = f"{before.value} -> {moved}"
        self.write(f"{m.name}: {moved}: {because}")
        if do:
            self.write(f"     {', '.join(label(a) for a in do)}")

    def _say(self, m: Machine) -> None:
        said = report(m.view)
        if said != m.said:
            m.said = said
            self._send(m)

    def _send(self, m: Machine) -> None:
        peer = self.other(m.name)
        if m.alive and peer.alive and self.heartbeats_pass and peer.name not in self.frozen:
            peer.inbox.append(m.said)

    # --- advancing ------------------------------------------------------------------------------

    def deliver(self, name: str) -> bool:
        m = self[name]
        if not m.alive or not m.inbox or name in self.frozen:
            return False
        self.tell(name, PeerHeard(m.inbox.popleft()))
        return True

    def work(self, name: str) -> bool:
        """The next action of the running job."""
        m = self[name]
        if not m.alive or m.view.job is None or name in self.frozen:
            return False
        job = m.view.job
        if m.todo:
            action = m.todo.popleft()
            try:
                self.perform(m, action)
            except TwofoldError as e:
                m.todo.clear()
                self._refresh(m)
                self.tell(name, JobFailed(job, action, e.code, str(e)))
                return True
            self._refresh(m)
        if not m.todo and m.view.job is job:
            self.tell(name, JobDone(job))
        return True

    def _aside(self, m: Machine, action: Action) -> None:
        try:
            self.perform(m, action)
        except TwofoldError as e:
            self.tell(m.name, AsideFailed(action, e.code, str(e)))
        self._refresh(m)

    def perform(self, m: Machine, action: Action) -> None:
        match action:
            case EnsureEngine() if m.name in self.broken_engines:
                raise MirrorFailed("the directory /srv/files does not exist")
            case ClaimEpoch(epoch=epoch):
                self.claims.append((m.name, epoch))
            case AskRelation():
                theirs = m.view.peer.generation if m.view.peer else None
                m.needs_engine()
                if theirs is not None:
                    known = Relation(relation(m.engine.disk, theirs))
                    self.tell(m.name, RelationKnown(known))
            case _:
                m.perform(action)
        for machine in self.machines.values():
            self._unlink_if_apart(machine)

    def rule(self) -> bool:
        """The oldest question is answered by the witnesses, and the answer is heard."""
        if not self.claims:
            return False
        name, epoch = self.claims.popleft()
        kind = self[name].view.settings.arbitration
        told = self.witnesses.rule(kind, Claim(term_of(epoch), name), epoch)
        if self[name].alive and name not in self.frozen:
            self.tell(name, told)
        return True

    def _unlink_if_apart(self, m: Machine) -> None:
        peer = self.other(m.name)
        fits = {m.engine.role, peer.engine.role} == {"primary", "secondary"}
        running = m.engine.running and peer.engine.running and m.alive and peer.alive
        running = running and not self.frozen
        if m.engine.linked and not (fits and running and self.flow_passes and peer.engine.linked):
            m.engine.link_down()
            peer.engine.link_down()
            self._refresh(m)
            self._refresh(peer)

    def _refresh(self, m: Machine) -> None:
        """Tells the machine its engine's status when that has changed."""
        status = m.engine.status() if m.engine.running else None
        if status == m.status or not m.alive or m.name in self.frozen:
            return
        m.status = status
        self.tell(m.name, EngineChanged(status) if status else EngineGone("it ended"))

    def replicate(self) -> bool:
        """One step of the link: find each other, or finish the copy."""
        a, b = self["a"].engine, self["b"].engine
        for p, s in ((a, b), (b, a)):
            fits = p.role == "primary" and s.follows and p.running and s.running
            if not fits or not self.flow_passes:
                continue
            if not s.linked:
                link(p, s)
            elif not s.copied and not self.hold_copies:
                finish_copy(p, s)
            else:
                continue
            for m in self.machines.values():
                self._refresh(m)
            return True
        return False

    def settle(self, limit: int = 2000) -> None:
        """Until nothing is left to do at this moment."""
        for m in self.machines.values():
            self._unlink_if_apart(m)
        for _ in range(limit):
            moved = [self.deliver("a"), self.deliver("b"), self.work("a"), self.work("b")]
            if not any([*moved, self.replicate(), self.rule()]):
                return
        raise AssertionError("the world does not come to rest:\n" + "\n".join(self.story[-30:]))

    def pass_time(self, seconds: float) -> None:
        """Heartbeats each 0.2 s, and every timer at its moment."""
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s += 0.2
            for m in self.machines.values():
                if m.alive and m.name not in self.frozen:
                    self._send(m)
                    moment_s = next_moment_s(m.view)
                    due = moment_s is not None and moment_s <= self.now_s
                    if due or self.now_s - m.view.now_s >= LOOK_EVERY_S:
                        self.tell(m.name, TimerFired())
            self.settle()

    # --- what tests ask -------------------------------------------------------------------------

    def states(self) -> str:
        words = [
            f"{m.name}={m.view.state.value}" if m.alive else f"{m.name}=off"
            for m in self.machines.values()
        ]
        return " ".join(words)

    def ask(self, name: str, event: Event) -> str:
        """Gives a command, lets it settle, and returns how it was answered."""
        self.write(f"-- {name}: {type(event).__name__}")
        m = self[name]
        m.answers.clear()
        self.tell(name, event)
        self.settle()
        return ": ".join(m.answers[0]) if m.answers else "no answer"

    def fail_service(self, name: str) -> None:
        self.write(f"-- the application of {name} dies")
        self[name].app = False
        self.tell(name, ServiceExited("app", "ended with code 1"))
        self.settle()

    def fail_quietly(self, name: str) -> None:
        self[name].app = False
        self.tell(name, ServiceExited("app", "ended with code 1"))

    def engine_dies(self, name: str) -> None:
        self.write(f"-- the engine of {name} dies")
        self[name].engine.crash()
        self._refresh(self[name])
        self.settle()

    def client_write(self) -> None:
        """Through the address, to the application that serves; frozen engines do not answer."""
        for m in self.machines.values():
            engine, peer = m.engine, self.other(m.name).engine
            if not (m.alive and m.app and m.address and engine.role == "primary"):
                continue
            if engine.linked and engine.peer_up_to_date:
                peer.data = engine.data + 1
            elif not engine.disk.sole and not engine.linked:
                continue  # frozen until somebody decides
            engine.data += 1
            self.acknowledged = engine.data

    def freeze(self, name: str) -> None:
        """The whole node stops, as a virtual machine that is paused; its kernel drops nothing."""
        self.write(f"-- {name} is frozen")
        self.frozen.add(name)
        self.settle()

    def thaw(self, name: str) -> None:
        """It goes on where it was. Its first thought comes before the first heartbeat it hears."""
        self.write(f"-- {name} goes on")
        self.frozen.discard(name)
        self[name].inbox.clear()
        self._refresh(self[name])
        self.tell(name, TimerFired())
        self.settle()

    def note(self, text: str) -> None:
        self.write(f"   ({text})")

    def serving_epochs(self) -> dict[str, int]:
        """Which nodes serve now: engine primary, and application or address there."""
        return {
            m.name: m.engine.disk.epoch
            for m in self.machines.values()
            if m.alive and m.engine.role == "primary" and (m.app or m.address)
        }

    def picture(self) -> str:
        return " ".join(
            f"{m.name}={m.view.state.value}({readiness(m.view).value})"
            f"{'+app' if m.app else ''}{'+ip' if m.address else ''}"
            for m in self.machines.values()
        )
