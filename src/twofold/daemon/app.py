"""`twofoldd`: where everything is put together, and the only place that names concrete adapters.

Outside a cluster the daemon only listens on its local socket and waits for cluster.toml. Inside, a
*membership* runs: heartbeats, control channel and modules. When the cluster's own files change,
the membership ends and a new one begins; engines, applications and addresses live on in between,
and are found again as after a restart of the daemon.

SIGTERM ends the daemon and leaves everything running (so it can be upgraded); `shutdown` on the
local socket stops the modules in order, for a machine that goes down.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

from twofold.adapters.address import VirtualAddresses
from twofold.adapters.address.links import Glance
from twofold.adapters.arbiter import make_arbiter, make_witnesses
from twofold.adapters.arbiter.witnesses import Witness
from twofold.adapters.checkers import Target, make_checker
from twofold.adapters.clock import Clock
from twofold.adapters.control_channel import ControlChannel
from twofold.adapters.journald import Journald
from twofold.adapters.local_socket import LocalSocket
from twofold.adapters.mirror import MirrorProcess
from twofold.adapters.no_engine import NoEngine
from twofold.adapters.pki import load_heartbeat_keys
from twofold.adapters.rescues import Rescues
from twofold.adapters.services import Application
from twofold.adapters.statefile import next_incarnation
from twofold.adapters.udp_link import UdpLink, Wire
from twofold.adapters.watchdog import hold_on
from twofold.adapters.watchdog_device import WatchdogDevice
from twofold.config.homes import homes_of, within
from twofold.config.load import Module, NodeConfig, load_node
from twofold.config.places import Places, places
from twofold.daemon.admission import Admission
from twofold.daemon.arbitration import Arbitration
from twofold.daemon.audit import Audit
from twofold.daemon.cluster_files import cluster_files, with_new_certificate
from twofold.daemon.commands import Commands, Member
from twofold.daemon.configuration import Configuration
from twofold.daemon.fencing import Fencing
from twofold.daemon.gate import Gate
from twofold.daemon.heartbeats import Heartbeats
from twofold.daemon.journal import Entry, Journal
from twofold.daemon.lifecycle import Lifecycle, mirror_config
from twofold.daemon.membership import Surroundings, configured
from twofold.daemon.neighbours import Neighbours
from twofold.daemon.notifying import Notifying
from twofold.daemon.parts import Parts, watched
from twofold.daemon.teller import sender_of
from twofold.daemon.web_certificate import keep as keep_certificate
from twofold.errors import CommandRefused, TwofoldError
from twofold.ports import ControlPort
from twofold.wire import heartbeat

LOOK_EVERY_S = 1.0
RETRY_S = 2.0
ENGINE_COMMAND = "TWOFOLD_MIRROR_COMMAND"
log = logging.getLogger("twofold")


class Daemon:
    """One node's daemon. `run` ends when `ending` is set."""

    def __init__(self, where: Places) -> None:
        self._where = where
        self._clock = Clock()
        self._glance = Glance()
        self.ending = asyncio.Event()
        self._changed = asyncio.Event()
        self._journal = Journal(where.var / "journal.sqlite", Journald())
        around = Surroundings(
            etc=where.etc,
            var=where.var,
            places=where.all,
            control=self._control,
            state_of=lambda name: self._lifecycle().state_of(name) if self._member else "STOP",
            reload=self._reload,
            running=lambda name: self._lifecycle().module_of(name) if self._member else None,
            clock=self._clock,
            note=self._note,
        )
        self._neighbours = Neighbours(around.state_of, self._control)
        self._configuration = Configuration(around)
        self._audit = Audit(where.var / "audit.sqlite")
        self._commands = Commands(where.etc, self._journal, self._configuration, self._audit)
        gate = Gate(self._configuration.users.current, self._audit)
        self._local = LocalSocket(where.socket, self._commands.handle, gate=gate)
        self._known: tuple[bytes, ...] = ()
        self._unreadable = False  # the cluster's files; said once
        self._refused: tuple[bytes, ...] = ()  # wrong files that were complained about
        self._witnesses: Sequence[Witness] = ()

    @property
    def _member(self) -> Member | None:
        return self._commands.member

    def _lifecycle(self) -> Lifecycle:
        assert self._member is not None
        return self._member.lifecycle

    def _control(self) -> ControlPort:
        if self._member is None:
            raise CommandRefused("the daemon is just starting", "Try again in a moment.")
        return self._member.control

    async def run(self) -> None:
        self._where.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self._where.run / "twofoldd.pid").write_text(f"{os.getpid()}\n")
        background = [
            asyncio.create_task(self._journal.run()),
            asyncio.create_task(self._audit.run()),
            asyncio.create_task(self._kept("the local socket", self._local.serve)),
        ]
        try:
            while not self.ending.is_set():
                await self._one_membership()
        finally:
            await _cancel(background)
            (self._where.run / "twofoldd.pid").unlink(missing_ok=True)

    # --- one membership ---------------------------------------------------------------------------

    async def _one_membership(self) -> None:
        """Until the cluster's files change, or the daemon ends."""
        self._changed.clear()
        self._known = cluster_files(self._where.etc)
        tasks: list[asyncio.Task[None]] = []
        try:
            node = load_node(self._where.etc)
            if node is None:
                self._local.leave_cluster()
            else:
                tasks = await self._begin(node)
        except TwofoldError as e:
            self._note(f"this node cannot take part in its cluster: {e}")
        try:
            while not (self.ending.is_set() or self._changed.is_set()):
                await self._look()
        finally:
            member, self._commands.member = self._member, None
            if member is not None:
                await member.lifecycle.close()
            await _cancel(tasks)
            for witness in self._witnesses:
                await witness.close()
            self._witnesses = ()

    async def _look(self) -> None:
        waits = [asyncio.create_task(e.wait()) for e in (self.ending, self._changed)]
        await asyncio.wait(waits, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(waits)
        if self._configuration.keys.replacing:
            return  # a certificate that is not in use yet is no other membership
        try:
            found = cluster_files(self._where.etc)
        except OSError as e:  # the disk is dead: what runs here is handed over by who knows it
            if not self._unreadable:
                log.error("%s cannot be read: %s", self._where.etc, e)
            self._unreadable = True
            return
        self._unreadable = False
        if found not in (self._known, self._refused) and self._usable(found):
            self._changed.set()

    def _usable(self, found: tuple[bytes, ...]) -> bool:
        """An edit that went wrong must not take this node out of its cluster."""
        try:
            load_node(self._where.etc)
        except TwofoldError as e:
            self._refused = found
            if self._member is not None:
                self._note(f"what was written is not used, the cluster goes on as before: {e}")
                return False
        return True

    async def _begin(self, node: NodeConfig) -> list[asyncio.Task[None]]:
        heartbeat_keys = load_heartbeat_keys(node.pki)
        incarnation_file = self._where.var / "incarnation"
        incarnation = next_incarnation(incarnation_file, self._clock.wall_s())
        self._witnesses = make_witnesses(node, self._configuration.keys.sign_for_witness)
        tell = self._configuration.membership.tell_arbitration
        introduce = self._configuration.membership.introduce
        admission = Admission(self._where.etc, self._reload, tell, introduce)
        control = ControlChannel(lambda: configured(self._where.etc), admission.answer)
        link = UdpLink(_wires(node), heartbeat.PORT)
        lifecycle = Lifecycle(
            node,
            self._where,
            self._parts_of,
            clock=self._clock,
            journal=self._journal,
            on_report=lambda name, urgent: beats.beat(urgent, name),
        )
        beats = Heartbeats(
            node,
            heartbeat_keys[0],
            incarnation,
            link,
            control,
            clock=self._clock,
            journal=self._journal,
            drivers=lifecycle.drivers,
        )
        beats.use_keys(heartbeat_keys)
        self._configuration.keys.use_heartbeat_keys = beats.use_keys
        self._configuration.keys.use_certificate = lambda: self._use_certificate(control)
        bound_s = node.cluster.arbitration.timeout_s
        arbitration = Arbitration(
            bound_s, lifecycle.drivers, clock=self._clock, journal=self._journal
        )
        self._commands.member = Member(node, lifecycle, beats, control)
        tell = self._notifying(node, lifecycle, beats, control)
        members = tuple(n.name for n in node.cluster.nodes)
        self._local.use_cluster(
            lambda: (node.name, members), control, functools.partial(homes_of, node)
        )
        self._configuration.changes.note_found("cluster.toml", "as it was found at start")
        changes = self._configuration.changes
        keep = functools.partial(keep_certificate, self._where.etc, self._note)
        tasks = [
            asyncio.create_task(
                self._kept("open changes", lambda: changes.run(lambda: configured(self._where.etc)))
            ),
            asyncio.create_task(self._kept("notifications", tell.run)),
            asyncio.create_task(self._kept("certificates", self._configuration.keys.run)),
            asyncio.create_task(self._kept("heartbeats", link.run)),
            asyncio.create_task(self._kept("the beat", beats.run)),
            asyncio.create_task(self._kept("the look at the witnesses", arbitration.run)),
            asyncio.create_task(self._kept("the users", self._configuration.users.run)),
            asyncio.create_task(self._kept("the console's certificate", keep)),
            asyncio.create_task(
                self._kept("the control channel", lambda: control.serve(self._commands.handle))
            ),
        ]
        if node.watchdog is not None:
            device = WatchdogDevice(node.watchdog)
            fencing = Fencing(device, lifecycle.drivers, self._clock, self._note)
            tasks.append(asyncio.create_task(self._kept("the watchdog", fencing.run)))
        await lifecycle.reload()
        names = ", ".join(sorted(lifecycle.running)) or "no module yet"
        self._note(f"node {node.name} is at work ({names})", "info", "node.at_work")
        return tasks

    def _use_certificate(self, control: ControlChannel) -> None:
        control.use_new_keys()
        self._known = with_new_certificate(self._known, self._where.etc)

    def _notifying(
        self, node: NodeConfig, lifecycle: Lifecycle, beats: Heartbeats, control: ControlChannel
    ) -> Notifying:
        notifying = Notifying(
            node,
            clock=self._clock,
            sender_of=lambda module: sender_of(node, lifecycle, beats, module),
            pass_on=control.request,
            note=self._note,
        )
        self._configuration.notify.current = notifying
        self._journal.listeners[:] = [notifying.hear]
        return notifying

    async def _kept(self, what: str, serve: Callable[[], Awaitable[None]]) -> None:
        """Runs it for ever; a failure is said and tried again."""
        said = ""
        while True:
            try:
                await serve()
            except TwofoldError as e:
                if str(e) != said:
                    self._note(f"{what} failed: {e}")
                said = str(e)
            except Exception as e:
                log.exception("%s failed", what)
                self._note(f"{what} failed: {e}")
            await self._clock.sleep(RETRY_S)

    async def _reload(self) -> None:
        """Called when files were written. A change of the cluster itself is taken up by `run`."""
        replacing = self._configuration.keys.replacing
        if self._member is None or (
            not replacing and cluster_files(self._where.etc) != self._known
        ):
            asyncio.get_running_loop().call_later(0.2, self._changed.set)  # the answer goes first
            return
        await self._member.lifecycle.reload()

    def _note(self, sentence: str, severity: str = "alarm", code: str = "") -> None:
        self._journal.write(Entry(self._clock.wall_s(), "", severity, sentence, code=code))

    # --- the parts of a module --------------------------------------------------------------------

    def _parts_of(
        self, node: NodeConfig, module: Module, facts: Callable[[], dict[str, str]]
    ) -> Parts:
        run = self._where.run / module.name
        others = [a for n in within(node, module).peers for a in node.addresses_of(n.name)]
        application = Application(
            module.name,
            node.name,
            module.config.services,
            run=run,
            scripts=module.scripts,
            facts=facts,
        )
        engine = self._engine(node, module)
        address = VirtualAddresses(module.config.addresses, others, self._glance)
        target = Target(
            application,
            address,
            directories=module.config.replication.directories if module.config.replication else (),
            scripts=module.scripts,
            variables=lambda: {
                "TWOFOLD_MODULE": module.name, "TWOFOLD_NODE": node.name, **facts()
            },
            module_states=functools.partial(self._neighbours.states, node),
        )  # fmt: skip
        checkers = tuple(watched(c, make_checker(c, target)) for c in module.config.checkers)

        async def close() -> None:
            await engine.close()
            await application.close()
            await address.close()

        section = module.config.module
        mirrors = section.kind == "mirror"
        arbiter = make_arbiter(section.arbitration, node, module.name, self._witnesses)
        rescues = Rescues(self._where.var / module.name) if mirrors else None
        return Parts(
            engine, application, address, checkers, close, arbiter=arbiter, rescues=rescues
        )

    def _engine(self, node: NodeConfig, module: Module) -> MirrorProcess | NoEngine:
        if module.config.module.kind != "mirror":
            return NoEngine()
        mirror_config(node, module, self._where)  # a mistake is said now, not at the first start
        return MirrorProcess(
            _engine_command(),
            self._where.run / module.name,
            lambda: mirror_config(node, module, self._where),
        )


def _engine_command() -> Sequence[str]:
    given = os.environ.get(ENGINE_COMMAND)
    return shlex.split(given) if given else (sys.executable, "-m", "twofold.mirror_process")


def _wires(node: NodeConfig) -> tuple[Wire, ...]:
    """One for each network that this node is on."""
    return tuple(
        Wire(
            network,
            address,
            tuple(p.addresses[network] for p in node.peers if network in p.addresses),
        )
        for network, address in node.me.addresses.items()
    )


async def _cancel(tasks: Sequence[asyncio.Task[object]] | Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def _run() -> None:
    daemon = Daemon(places())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.ending.set)
    for sentence in hold_on():
        log.info("%s", sentence)
    await daemon.run()


def main() -> None:
    """The console script `twofoldd`."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    os.umask(0o022)
    asyncio.run(_run())
