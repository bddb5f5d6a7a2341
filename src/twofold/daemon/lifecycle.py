"""The modules of this node: built from their configuration, found again, changed, let go.

A module that runs keeps the parts it was started with; a changed configuration reaches it when it
next stops, except for what the machine reads at each decision (failover, loops, default primary).
A module that cannot be built (wrong file, a kind not supported yet) does not hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from twofold.adapters.statefile import StateFile
from twofold.config.homes import homes, in_words, lives_on, within
from twofold.config.load import Module, NodeConfig, load_module, module_names
from twofold.config.places import Places
from twofold.daemon.checking import Checking
from twofold.daemon.driver import ModuleDriver
from twofold.daemon.journal import Entry, Journal
from twofold.daemon.partners import with_partners
from twofold.daemon.parts import Parts
from twofold.daemon.switches import Switches, SwitchFile
from twofold.errors import OperatorError, TwofoldError
from twofold.machine.events import Found
from twofold.machine.model import Kind, Settings, State, View, check_kind
from twofold.ports import ClockPort
from twofold.wire import statefile
from twofold.wire.mirror import engine_from

ADOPT_TIMEOUT_S = 20.0
PartsOf = Callable[[NodeConfig, Module, Callable[[], dict[str, str]]], Parts]
log = logging.getLogger("twofold.lifecycle")


@dataclass
class Running:
    module: Module  # as it was built
    driver: ModuleDriver
    checking: Checking
    tasks: tuple[asyncio.Task[None], ...]
    switches: Switches
    pending: Module | None = None  # a newer configuration, for when it stops


class Lifecycle:
    """All modules of this node while it is a member of a cluster."""

    def __init__(
        self,
        node: NodeConfig,
        places: Places,
        parts_of: PartsOf,
        *,
        clock: ClockPort,
        journal: Journal,
        on_report: Callable[[str, bool], None],
    ) -> None:
        self._node = node
        self._places = places
        self._parts_of = parts_of
        self._clock = clock
        self._journal = journal
        self._on_report = on_report
        self.running: dict[str, Running] = {}
        self.broken: dict[str, TwofoldError] = {}

    def drivers(self) -> Iterable[ModuleDriver]:
        return [r.driver for r in self.running.values()]

    def state_of(self, name: str) -> str:
        running = self.running.get(name)
        if running is None:
            return State.STOP.value
        view = running.driver.view
        if view.state is State.STOP and view.job is not None:
            return State.WAIT.value  # not at rest
        return view.state.value

    def module_of(self, name: str) -> Module | None:
        running = self.running.get(name)
        return running.module if running else None

    async def reload(self) -> None:
        """Bring what runs in line with the files."""
        self.broken.clear()
        names = module_names(self._node.etc)
        for name in [n for n in self.running if n not in names]:
            await self._drop_stopped(name)
        for name in names:
            try:
                module = load_module(self._node.etc, name)
                if lives_on(self._node, module):
                    await self._take(module)
                else:
                    await self._leave(module)
            except TwofoldError as e:
                self.broken[name] = e
                self._note(name, f"the module cannot be used: {e}")

    async def _drop_stopped(self, name: str) -> None:
        if name in self.running and self.state_of(name) == State.STOP.value:
            await self._drop(name)

    async def _leave(self, module: Module) -> None:
        """It lives on other nodes. What runs here is not let go unwatched."""
        await self._drop_stopped(module.name)
        if module.name in self.running:
            where = in_words(homes(module.config, self._node.cluster))
            self._note(module.name, f"it lives on {where}, and still runs here until it is stopped")

    async def freshen(self, name: str) -> None:
        """Before a start: the newest configuration counts."""
        running = self.running.get(name)
        if running and running.pending and self.state_of(name) == State.STOP.value:
            await self._rebuild(running.pending)

    async def _take(self, module: Module) -> None:
        check_supported(module)
        running = self.running.get(module.name)
        if running is None:
            await self._build(module)
        elif running.module.digest != module.digest or running.pending is not None:
            if self.state_of(module.name) == State.STOP.value:
                await self._rebuild(module)
                return
            await self._change_limit(running, module)
            running.checking.change_thresholds(module.config.checkers)
            was_pending, is_new = running.pending, running.module.digest != module.digest
            running.pending = module if is_new else None  # taken back: what runs is in force again
            running.driver.digest = module.digest
            # Its parts are of the old configuration, so is what rules for it.
            kept = running.driver.view.settings
            settings = replace(
                running.switches.over(self._settings_of(module)),
                arbitration=kept.arbitration,
                waits_for=kept.waits_for,
            )
            running.driver.change_settings(settings)
            if is_new and (was_pending is None or was_pending.digest != module.digest):
                text = "the new configuration is used when the module next starts"
                self._note(module.name, text, "info")
            elif not is_new:
                text = "the configuration is again the one with which the module runs"
                self._note(module.name, text, "info")

    async def _change_limit(self, running: Running, module: Module) -> None:
        """The one setting of the engine that counts at once."""
        limit = resync_limit(module)
        if resync_limit(running.pending or running.module) == limit:
            return
        try:
            await running.driver.parts.engine.command("set_resync_limit", bytes_per_s=limit)
        except TwofoldError as e:
            self._note(module.name, f"the engine could not be told the new resync_limit: {e}")

    async def _rebuild(self, module: Module) -> None:
        await self._drop(module.name)
        await self._build(module)

    async def _build(self, module: Module) -> None:
        node = with_partners(self._node, module, self._places.var)
        now_s = self._clock.monotonic_s()
        switches = SwitchFile(self._places.var / module.name).read()
        settings = switches.over(settings_of(node, module))
        view = View(settings=settings, now_s=now_s, since_s=now_s, peer_heard_s=now_s)
        state_file = StateFile(self._places.var / module.name / "state.json")
        written = state_file.read()
        if written is not None:
            view = statefile.decode(written, view, str(state_file.path), self._clock.wall_s())
        boot = module.config.module.boot if switches.boot is None else switches.boot
        if self._first_since_boot(module.name) and not boot:
            view = replace(view, wanted=False)
        parts = self._parts_of(node, module, lambda: self._facts(module.name))
        driver = ModuleDriver(
            module.name,
            view,
            parts,
            clock=self._clock,
            journal=self._journal,
            state_file=state_file,
            on_report=lambda urgent: self._on_report(module.name, urgent),
            digest=module.digest,
        )
        driver.checkers_off = switches.checkers_off
        checking = Checking(driver, lambda s, text: self._note(module.name, text, s))
        tasks = (
            asyncio.create_task(self._life(driver)),
            asyncio.create_task(checking.run()),
        )
        self.running[module.name] = Running(module, driver, checking, tasks, switches)

    def _settings_of(self, module: Module) -> Settings:
        return settings_of(with_partners(self._node, module, self._places.var), module)

    async def switch(self, name: str, switches: Switches, sentence: str) -> None:
        """Remembered first, then in force."""
        await SwitchFile(self._places.var / name).write(switches)
        running = self.running[name]
        running.switches = switches
        running.driver.checkers_off = switches.checkers_off
        configured = self._settings_of(running.pending or running.module)
        kept = running.driver.view.settings.arbitration
        running.driver.change_settings(replace(switches.over(configured), arbitration=kept))
        self._note(name, sentence, "info")

    async def _life(self, driver: ModuleDriver) -> None:
        driver.post(await self._look_around(driver))
        while True:
            try:
                await driver.run()
            except Exception as e:  # our bug: say so, keep what runs running, go on
                log.exception("module %s", driver.name)
                self._note(driver.name, f"an internal error, please report it: {e}")
                await self._clock.sleep(1.0)

    async def _look_around(self, driver: ModuleDriver) -> Found:
        """What an earlier daemon left running."""
        engine, runs = None, False
        try:
            async with asyncio.timeout(ADOPT_TIMEOUT_S):
                status = await driver.parts.engine.find()
                runs = await driver.parts.application.adopt()
                # Its news are in the queue before this, so nothing older may be said.
                status = driver.status if driver.status_heard else status
                engine = engine_from(status) if status is not None else None
        except (TwofoldError, TimeoutError) as e:
            self._note(driver.name, f"could not find out what runs: {e}")
        return Found(engine, runs)

    def _facts(self, name: str) -> dict[str, str]:
        running = self.running.get(name)
        state = running.driver.view.state.value if running else State.STOP.value
        peer = running.driver.view.settings.peer if running else ""
        return {"TWOFOLD_STATE": state, "TWOFOLD_PEER": peer}

    def _first_since_boot(self, name: str) -> bool:
        marker = self._places.run / name / "booted"
        if marker.exists():
            return False
        marker.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        marker.touch()
        return True

    async def _drop(self, name: str) -> None:
        running = self.running.pop(name)
        await _cancel(running.tasks)
        if running.driver.parts.close is not None:
            await running.driver.parts.close()

    async def close(self) -> None:
        """The daemon ends; engines, applications and addresses stay as they are."""
        for name in list(self.running):
            await self._drop(name)

    def _note(self, module: str, sentence: str, severity: str = "alarm") -> None:
        self._journal.write(Entry(self._clock.wall_s(), module, severity, sentence))


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def check_supported(module: Module) -> None:
    """Raises for what has its place in the configuration but does not work yet."""
    check_kind(Kind(module.config.module.kind))


def settings_of(node: NodeConfig, module: Module) -> Settings:
    section, peers = module.config.module, within(node, module).peers
    return Settings(
        kind=Kind(section.kind),
        node=node.name,
        peer=peers[0].name if peers else "",
        heartbeat_timeout_s=node.cluster.heartbeat.timeout_s,
        default_primary=section.default_primary,
        failover=section.failover,
        max_loops=section.max_loops,
        loop_interval_s=section.loop_interval_s,
        arbitration=section.arbitration,
        arbiter_timeout_s=node.cluster.arbitration.timeout_s,
        waits_for=tuple(c.name for c in module.config.checkers if c.action == "wait"),
    )


def mirror_config(node: NodeConfig, module: Module, places: Places) -> dict[str, object]:
    """mirror.json, as docs/internals/interfaces.md has it."""
    replication = module.config.replication
    if replication is None or replication.port is None:
        raise OperatorError(
            f"module {module.name!r} has no [replication] with a port",
            f"Name its directories, then: twofold module apply {module.name}",
        )
    peer = within(node, module).peers[0].name
    timeout_s = replication.peer_timeout_s or node.cluster.heartbeat.timeout_s
    return {
        "module": module.name,
        "cluster": node.cluster.cluster.id,
        "node": node.name,
        "peer": peer,
        "trees": [{"path": path} for path in replication.directories],
        "state_dir": str(places.var / module.name),
        "run_dir": str(places.run / module.name),
        "listen": [_endpoint(a, replication.port) for a in node.addresses_of(node.name)],
        "peer_addresses": [_endpoint(a, replication.port) for a in node.addresses_of(peer)],
        "tls": {
            "ca": str(node.pki / "ca.crt"),
            "cert": str(node.pki / "node.crt"),
            "key": str(node.pki / "node.key"),
        },
        "sync": replication.sync,
        "flow_encryption": replication.flow_encryption,
        "cache": replication.cache,
        "dirty_map": replication.keeps_dirty_map,
        "peer_timeout_ms": int(timeout_s * 1000),
        "require": list(replication.require),
        "exclude": list(replication.exclude),
        "rescue": {
            "limit_bytes": replication.rescue_limit_bytes,
            "keep": replication.rescue_keep,
            "reserve_bytes": replication.rescue_reserve_bytes,
            "when_full": replication.rescue_when_full,
        },
        "verify_limit_bytes_per_s": replication.verify_limit_bytes_per_s or None,
        "resync_limit_bytes_per_s": resync_limit(module),
    }


def resync_limit(module: Module) -> int | None:
    """As the engine has it: None is no limit."""
    replication = module.config.replication
    return (replication.resync_limit_bytes_per_s or None) if replication else None


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
