"""Two machines, their networks, a client that writes and counts, and time that jumps.

`turn` plays the next moment and lets the ledger look. Whatever a fault or a person does to the
world goes through the methods here, which also tell it to the story.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sim import generations
from tests.sim.arbiter import Arbiter
from tests.sim.clockwork import Clockwork, Process
from tests.sim.daemon import SimDaemon
from tests.sim.engine import Write
from tests.sim.host import Application, Doomed, Host
from tests.sim.ledger import Broken, Ledger
from tests.sim.link import Conn
from tests.sim.network import Network
from tests.sim.roles import SimEngine
from tests.sim.starvation import Starvation
from twofold.errors import TwofoldError
from twofold.machine.events import Event, PrimAsked, ServiceExited
from twofold.machine.model import Report, Settings, View


@dataclass(frozen=True)
class CopyCut:
    """A crash, or a disk's error, that may have taken what was not synced there.

    `sole`: nobody else was in step.
    """

    node: str
    at_s: float
    sole: bool


class SimWorld:
    def __init__(
        self, seed: int | str, telling: bool = False, witnesses: int = 1, **settings: Any
    ) -> None:
        self.seed = seed
        self.clockwork = Clockwork(seed, telling)
        self.network = Network(self.clockwork)
        self.settings: dict[str, Any] = {"max_loops": 5, **settings}
        self.plant = ""
        self.arbitration = str(settings.get("arbitration", "none"))
        self.may_be_cut = False
        self.may_stall = False
        self.writes_hold_applications = False
        self.at_peace = False  # all faults are over, those on their way too
        self.copies_cut: list[CopyCut] = []
        self.conns: list[Conn] = []
        self.engine_gone: dict[int, list[Callable[[], None]]] = {}
        self.arbiter = Arbiter(self, witnesses)
        self.ledger = Ledger(self)
        self.answers: list[tuple[str, str, str]] = []
        self.writing = True
        self._sessions = 0
        self._writes = 0
        generations.begin()
        self.hosts = {name: Host(self, name) for name in "ab"}
        for host in self.hosts.values():
            host.daemon = SimDaemon(host)
        self.clockwork.after(0.5, None, self._client)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def other(self, host: Host) -> Host:
        return self.hosts["b" if host.name == "a" else "a"]

    def settings_of(self, name: str) -> Settings:
        return Settings(node=name, peer="b" if name == "a" else "a", **self.settings)

    def starve(self, seconds: float) -> None:
        """For that long, other work may keep the daemons from deciding at once."""
        now_s = self.clockwork.now_s
        for host in self.hosts.values():
            host.starvation = Starvation(self.seed, host.name, now_s, now_s + seconds)

    def next_session(self) -> int:
        self._sessions += 1
        return self._sessions

    def resync_s(self) -> float:
        return self.clockwork.between(0.2, 1.0 if self.clockwork.chance(0.7) else 6.0)

    # --- time -----------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        until_s = self.clockwork.now_s + seconds
        while self.turn(until_s):
            pass

    def turn(self, until_s: float) -> bool:
        entry = self.clockwork.next(until_s)
        if entry is None:
            return False
        of, call, args = entry
        self._play(of, call, args)
        return True

    def _play(self, of: Process | None, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if of is not None:
            if not of.alive:
                return
            if of.stopped:
                of.kept.append((call, args))
                return
        try:
            call(*args)
        except Doomed as doomed:
            self._doomed(doomed)
        except TwofoldError:
            if not isinstance(of, SimEngine):
                raise
            of.failed = "io_error"  # a record could not be written: said, and nothing goes on
            of.touch()
        self.ledger.look()

    def _doomed(self, doomed: Doomed) -> None:
        host = doomed.host
        match doomed.what:
            case "daemon":
                self.kill_daemon(host, self.clockwork.between(0.2, 4.0))
            case "engine":
                self.end_engine(host, "killed")
            case _:
                self.power_cut(host)
                self.clockwork.after(self.clockwork.between(1.0, 9.0), None, self.power_on, host)

    def broken(self, text: str) -> None:
        raise Broken(text)

    # --- processes and power --------------------------------------------------------------------

    def start_engine(self, host: Host) -> None:
        host.engine = SimEngine(host)

    def end_engine(self, host: Host, why: str) -> None:
        """The process ends; what was mounted is gone, what was open is closed."""
        engine = host.engine
        if engine is None or not engine.alive:
            return
        if why == "killed":
            self.clockwork.write(f"-- the engine of {host.name} is killed")
        engine.alive = False
        if why == "killed":
            self.copy_cut(host)
        for conn in list(self.conns):
            if conn.ends[host.name] is engine:
                conn.close(host.name)
        daemon = host.daemon
        if daemon is not None and daemon.alive:
            self.clockwork.after(0.001, daemon, daemon.hear_status, None)
        for told in self.engine_gone.pop(id(engine), []):
            told()

    def kill_daemon(self, host: Host, back_s: float) -> None:
        """kill -9; systemd starts it again."""
        if host.daemon is None or not host.daemon.alive:
            return
        self.clockwork.write(f"-- the daemon of {host.name} is killed")
        host.daemon.alive = False
        self.clockwork.after(back_s, None, self.start_daemon, host)

    def start_daemon(self, host: Host) -> None:
        if host.power and (host.daemon is None or not host.daemon.alive):
            self.clockwork.write(f"-- the daemon of {host.name} starts")
            host.daemon = SimDaemon(host)

    def power_cut(self, host: Host) -> None:
        if not host.power:
            return
        lost = host.lose_unsynced()
        tail = f" and loses writes {lost}" if lost else ""
        self.clockwork.write(f"-- power cut of {host.name}{tail}")
        self._off(host)

    def copy_cut(self, host: Host) -> None:
        sole = host.disk.generation.sole
        self.copies_cut.append(CopyCut(host.name, self.clockwork.now_s, sole))

    def _off(self, host: Host) -> None:
        self.copy_cut(host)
        for process in host.processes():
            process.alive = False
        if host.engine is not None:
            self.engine_gone.pop(id(host.engine), None)
        host.power, host.engine, host.doom = False, None, None
        host.app = Application(starts_fail=host.app.starts_fail)
        host.address = False
        self.review()

    def power_on(self, host: Host) -> None:
        if host.power:
            return
        self.clockwork.write(f"-- power on of {host.name}")
        host.power = True
        host.clock_offset_s = 100.0 - self.clockwork.now_s * host.clock_rate
        host.clock_read_s = 0.0
        for conn in list(self.conns):
            conn.reset(host.name)
        self.review()
        host.daemon = SimDaemon(host)

    def stop_process(self, host: Host, process: Process) -> None:
        process.stopped = True
        self.review()

    def continue_process(self, process: Process) -> None:
        """It goes on with all that came meanwhile."""
        if not process.stopped:
            return
        process.stopped = False
        self.review()
        kept, process.kept = process.kept, []
        if isinstance(process, SimDaemon):
            heard = [args for call, args in kept if call == process.hear]
            kept = [(call, args) for call, args in kept if call != process.hear]
            if heard:
                self._play(process, process.hear_waiting, (heard,))
        for call, args in kept:
            self._play(process, call, args)

    def review(self) -> None:
        for conn in list(self.conns):
            conn.review()

    def deliver(self, host: Host, moment: tuple[int, int], said: Report) -> None:
        """A heartbeat reaches a machine; its socket keeps it for a daemon that is stopped."""
        daemon = host.daemon
        if host.power and daemon is not None and daemon.alive:
            self._play(daemon, daemon.hear, (moment, said))

    # --- application and people -----------------------------------------------------------------

    def application_ends(self, host: Host) -> None:
        if host.app.running and not host.app.stuck:
            host.app.running = False
            daemon = host.daemon
            if daemon is not None and daemon.alive:
                event = ServiceExited("app", "ended with code 1")
                self.clockwork.after(0.01, daemon, daemon.post, event)

    def _client(self) -> None:
        """Writes through the address; whoever holds it, runs the application and takes it."""
        self.clockwork.after(self.clockwork.between(0.2, 0.9), None, self._client)
        if not self.writing:
            return
        holders = [
            h
            for h in self.hosts.values()
            if h.power and h.address and h.app.running and h.engine is not None and h.engine.alive
        ]
        if holders:
            host = self.clockwork.dice.choice(holders)
            self._writes += 1
            write = Write(self._writes, self.clockwork.chance(0.4))
            assert host.engine is not None
            self._play(host.engine, host.engine.submit, (write,))

    def ask(self, name: str, event: Event) -> None:
        """A person gives a command on a node."""
        host = self.hosts[name]
        daemon = host.daemon
        if host.power and daemon is not None and daemon.alive and daemon.found:
            self.clockwork.write(f"-- {name}: {type(event).__name__}")
            if isinstance(event, PrimAsked) and event.force:
                self.ledger.forced = True
            self._play(daemon, daemon.post, (event,))

    def answered(self, name: str, answer: str, because: str) -> None:
        self.answers.append((name, answer, because))
        self.clockwork.write(f"      answer on {name}: {answer}: {because}")

    def view(self, name: str) -> View:
        daemon = self.hosts[name].daemon
        return daemon.view if daemon is not None else View()

    def picture(self) -> str:
        words: list[str] = []
        for host in self.hosts.values():
            if not host.power or host.daemon is None:
                words.append(f"{host.name} is off")
                continue
            view = host.daemon.view
            job = f" ({view.job.value})" if view.job else ""
            app = "+app" if host.app.running else ""
            address = "+address" if host.address else ""
            words.append(f"{host.name}={view.state.value}{job}{app}{address}")
        return ", ".join(words)
