"""The commands of people and of the other daemon, answered for this node.

`handle(caller, body)`: `caller` is a user of this machine, or the name of a node (authenticated by
its certificate). Commands about configuration go to `daemon.configuration`. An action answers when
it is accepted or refused; `prim` only when it is known whether this node may serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.config.homes import homes, in_words
from twofold.config.load import NodeConfig, load_module, module_names, nearest
from twofold.daemon import rescues, resources, verification
from twofold.daemon.audit import Audit, noted
from twofold.daemon.configuration import Configuration
from twofold.daemon.heartbeats import Heartbeats
from twofold.daemon.journal import Journal
from twofold.daemon.lifecycle import Lifecycle, Running
from twofold.daemon.membership import configured
from twofold.daemon.partners import removed
from twofold.daemon.snapshot import Snapshot
from twofold.errors import CommandRefused, NeedsForce, NotThere
from twofold.machine.events import (
    Event,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.links import peer_heard, peer_serving
from twofold.machine.model import State, copy_current, readiness
from twofold.machine.rule import Answer
from twofold.machine.sentences import explain
from twofold.ports import ControlPort

Body = Mapping[str, Any]

ANSWER_TIMEOUT_S = 8.0
ROWS_MAX = 1000


@dataclass
class Member:
    """What there is while this machine belongs to a cluster."""

    node: NodeConfig
    lifecycle: Lifecycle
    heartbeats: Heartbeats
    control: ControlPort


class Commands:
    """`member` is None while the machine belongs to no cluster."""

    def __init__(
        self, etc: Path, journal: Journal, configuration: Configuration, audit: Audit
    ) -> None:
        self._etc = etc
        self._audit = audit
        self.member: Member | None = None
        self._journal = journal
        self._configuration = configuration
        self._handlers: dict[str, Callable[[str, Body], Awaitable[dict[str, Any]]]] = {
            "state": self._state,
            "start": self._action,
            "stop": self._action,
            "prim": self._action,
            "second": self._action,
            "restart": self._action,
            "swap": self._swap,
            "rescue_list": self._rescue,
            "rescue_show": self._rescue,
            "rescue_extract": self._rescue,
            "rescue_delete": self._rescue,
            "verify": self._verify,
            "verify_stop": self._verify,
            "verify_result": self._verify,
            "estimate": self._verify,
            "resync": self._verify,
            "why": self._why,
            "log": self._log,
            "audit": self._audit_read,
            "audit_note": self._audit_note,
            "resources": self._resources,
            "snapshot": Snapshot(configuration.places, self.handle).handle,
            "switch": self._switch,
            "reload": self._reload,
            "shutdown": self._shutdown,
            "peer_heartbeat": self._peer_heartbeat,
            "peer_module_state": self._peer_module_state,
        }

    async def handle(self, caller: str, body: Body) -> Mapping[str, Any]:
        command = str(body.get("command"))
        if command in self._handlers:
            return await self._handlers[command](caller, body)
        if self._configuration.knows(command):
            return await self._configuration.handle(caller, body)
        raise CommandRefused(
            f"there is no command {command!r}", nearest(command, list(self._handlers))
        )

    def _here(self) -> Member:
        if self.member is None:
            configured(self._etc)
            raise CommandRefused("the daemon is just starting", "Try again in a moment.")
        return self.member

    def _module(self, body: Body) -> Running:
        name, lifecycle = str(body.get("module")), self._here().lifecycle
        if name in lifecycle.running:
            return lifecycle.running[name]
        if name in lifecycle.broken:
            raise lifecycle.broken[name]
        if name in module_names(self._etc):
            self._refuse_elsewhere(name)
        known = [*lifecycle.running, *lifecycle.broken]
        raise CommandRefused(
            f"there is no module {name!r} on this node",
            nearest(name, known) or "`twofold module list` shows what there is.",
        )

    def _refuse_elsewhere(self, name: str) -> None:
        node = self._here().node
        names = homes(load_module(self._etc, name).config, node.cluster)
        if node.name not in names:
            raise NotThere(
                f"module {name!r} lives on {in_words(names)}, not on node {node.name}",
                f"Say it there: -H {names[0]}",
            )

    # --- actions ----------------------------------------------------------------------------------

    async def _action(self, caller: str, body: Body) -> dict[str, Any]:
        self._module(body)
        await self._here().lifecycle.freshen(str(body.get("module")))
        running = self._module(body)
        by = str(body.get("on_behalf_of") or caller)
        event = _event(str(body["command"]), by, bool(body.get("force")))
        return await self._asked(running, event)

    async def _asked(self, running: Running, event: Event) -> dict[str, Any]:
        driver = running.driver
        answer, sentence = await driver.ask(event, ANSWER_TIMEOUT_S)
        if answer in (Answer.REFUSE, Answer.REFUSE_UNLESS_FORCED):
            what, _, mend = sentence.partition("; ")
            kind = CommandRefused if answer is Answer.REFUSE else NeedsForce
            raise kind(what, mend[:1].upper() + mend[1:])
        if answer is None:
            sentence = explain(driver.view, driver.name)[0]
        return {"module": driver.name, "sentence": sentence, "state": driver.view.state.value}

    async def _swap(self, caller: str, body: Body) -> dict[str, Any]:
        """Given on either node; the one that serves does it."""
        running = self._module(body)
        by = str(body.get("on_behalf_of") or caller)
        view = running.driver.view
        if view.state is State.SECOND and peer_serving(view) and not body.get("forwarded"):
            forwarded = {
                "command": "swap",
                "module": running.module.name,
                "on_behalf_of": by,
                "forwarded": True,
            }
            control, peer = self._here().control, view.settings.peer
            return dict(await control.request(peer, forwarded, ANSWER_TIMEOUT_S + 1.0))
        return await self._asked(running, SwapAsked(by))

    async def _shutdown(self, caller: str, body: Body) -> dict[str, Any]:
        """The machine goes down: stop all modules in order; they start again at boot."""
        asked = [
            running.driver.ask(StopAsked(caller, keep_wanted=True), ANSWER_TIMEOUT_S)
            for running in self._here().lifecycle.running.values()
        ]
        await asyncio.gather(*asked)
        return {"sentence": "All modules of this node are being stopped."}

    async def _verify(self, caller: str, body: Body) -> dict[str, Any]:
        """Given on either node; the one that serves does it, and has the result."""
        running = self._module(body)
        view = running.driver.view
        if view.state is State.SECOND and peer_serving(view) and not body.get("forwarded"):
            control, peer = self._here().control, view.settings.peer
            return dict(await control.request(peer, {**body, "forwarded": True}, ANSWER_TIMEOUT_S))
        return await verification.asked(running.driver.parts.engine, self._here().node.name, body)

    async def _reload(self, caller: str, body: Body) -> dict[str, Any]:
        await self._here().lifecycle.reload()
        return {"sentence": "The configuration was read again."}

    async def _peer_heartbeat(self, caller: str, body: Body) -> dict[str, Any]:
        member = self._here()
        if caller not in {n.name for n in member.node.peers}:
            raise CommandRefused("peer_heartbeat is a command between nodes")
        try:
            datagram = bytes.fromhex(str(body.get("datagram")))
        except ValueError:
            raise CommandRefused("the datagram is not in hexadecimal digits") from None
        member.heartbeats.hear("", datagram)
        return {}

    async def _peer_module_state(self, caller: str, body: Body) -> dict[str, Any]:
        """For a checker of kind `module` on another node."""
        return {"state": self._here().lifecycle.state_of(str(body.get("module")))}

    async def _rescue(self, caller: str, body: Body) -> dict[str, Any]:
        driver = self._module(body).driver
        return await rescues.asked(driver.parts.rescues, driver.status, body)

    async def _switch(self, caller: str, body: Body) -> dict[str, Any]:
        by = str(body.get("on_behalf_of") or caller)
        return await resources.switch(self._here().lifecycle, self._module(body), by, body)

    # --- looking ----------------------------------------------------------------------------------

    async def _why(self, caller: str, body: Body) -> dict[str, Any]:
        running = self._module(body)
        limit = _bounded(body.get("limit"), 10)
        rows = await self._journal.read(running.module.name, limit, decisions=True)
        sentence, mend = explain(running.driver.view, running.module.name)
        return {"decisions": rows, "sentence": sentence, "next": mend}

    async def _resources(self, caller: str, body: Body) -> dict[str, Any]:
        running = self._here().lifecycle.running
        asked = [self._module(body)] if body.get("module") is not None else list(running.values())
        return {"modules": [await resources.of(r) for r in asked]}

    async def _log(self, caller: str, body: Body) -> dict[str, Any]:
        module = body.get("module")
        limit, since = _bounded(body.get("limit"), 100), int(body.get("since") or 0)
        name = None if module is None else str(module)
        rows = await self._journal.read(
            name,
            limit,
            since,
            after_s=float(body.get("after_s") or 0.0),
            severity=None if body.get("severity") is None else str(body["severity"]),
        )
        return {"entries": rows}

    async def _audit_read(self, caller: str, body: Body) -> dict[str, Any]:
        return {"records": await self._audit.read(_bounded(body.get("limit"), 100))}

    async def _audit_note(self, caller: str, body: Body) -> dict[str, Any]:
        """What the web process has to add: who logged in, and who could not."""
        self._audit.write(noted(body))
        return {}

    async def _state(self, caller: str, body: Body) -> dict[str, Any]:
        member = self._here()
        if body.get("module") is not None:
            name = str(body["module"])
            if name in member.lifecycle.broken:
                return {"modules": [_broken(member, name)]}
            return {"modules": [await self._object(member, self._module(body))]}
        objects = [await self._object(member, r) for r in member.lifecycle.running.values()]
        objects += [
            _broken(member, n) for n in member.lifecycle.broken if n not in member.lifecycle.running
        ]
        return {"modules": sorted(objects, key=lambda o: str(o["module"]))}

    async def _object(self, member: Member, running: Running) -> dict[str, Any]:
        driver, view = running.driver, running.driver.view
        sentence, mend = explain(view, driver.name)
        peer = view.settings.peer
        if view.state is State.ALONE:
            mend = removed(member.node, peer) or mend
        status, engine = driver.status or {}, view.engine
        return {
            "node": member.node.name,
            "module": driver.name,
            "kind": running.module.config.module.kind,
            "nodes": list(homes(running.module.config, member.node.cluster)),
            "state": view.state.value,
            "readiness": readiness(view).value,
            "since_s": round(max(0.0, driver.now_s() - view.since_s), 1),
            "sentence": sentence,
            "next": mend,
            "up_to_date": bool(engine and engine.up_to_date),
            "copy_current": copy_current(view) if view.state is State.SECOND else None,
            "resync": status.get("resync"),
            "rescue": status.get("rescue"),
            "verify": status.get("verify"),
            "kept_copy": status.get("kept_copy"),
            "traffic": _traffic(status),
            "last_resync": status.get("last_resync"),
            "epoch": view.epoch,
            "generation": engine.generation.current if engine else None,
            "reachable": True,
            "addresses": await resources.addresses(running),
            "services": await resources.services(running),
            "checkers": resources.verdicts(running.checking),
            "peer": {
                "node": peer,
                "heard": peer_heard(view),
                "state": view.peer.state.value if view.peer and peer_heard(view) else None,
                "readiness": view.peer.readiness.value if view.peer and peer_heard(view) else None,
                "networks": member.heartbeats.networks(peer),
                "same_configuration": view.peer is None
                or not view.peer.digest
                or view.peer.digest == driver.digest,
            },
            "arbitration": {
                "kind": view.settings.arbitration,
                "heard": view.arbiter_heard,
                "text": view.arbiter_text,
            },
            "failovers": view.failovers,
            "switched": running.switches.data(),
            "pending_configuration": running.pending is not None,
        }


def _traffic(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the engine has counted since it began, and what waits for the other node now."""
    counters: Mapping[str, Any] = status.get("counters") or {}
    if not counters:
        return None
    return {
        **counters,
        "pending_operations": status.get("pending_operations", 0),
        "parked_operations": status.get("parked_operations", 0),
        "link_silent_ms": status.get("link_silent_ms"),
    }


def _broken(member: Member, name: str) -> dict[str, Any]:
    error = member.lifecycle.broken[name]
    return {
        "node": member.node.name,
        "module": name,
        "kind": "mirror",
        "nodes": [n.name for n in member.node.cluster.nodes],
        "state": State.STOP.value,
        "readiness": "NotReady",
        "since_s": 0.0,
        "sentence": error.sentence or str(error),
        "next": error.mend or "Mend the module's configuration and apply it.",
        "up_to_date": False,
        "resync": None,
        "kept_copy": None,
        "last_resync": None,
        "epoch": 0,
        "generation": None,
        "reachable": True,
        "addresses": [],
        "services": [],
        "checkers": [],
        "peer": {"node": "", "heard": False, "networks": {}},
        "failovers": 0,
    }


def _event(command: str, by: str, force: bool) -> Event:
    match command:
        case "start":
            return StartAsked(by)
        case "stop":
            return StopAsked(by)
        case "prim":
            return PrimAsked(force, by)
        case "second":
            return SecondAsked(by)
        case _:
            return RestartAsked(by)


def _bounded(value: object, default: int) -> int:
    number = value if isinstance(value, int) and value > 0 else default
    return min(number, ROWS_MAX)
