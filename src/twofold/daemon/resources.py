"""What a module is made of on this node, as `twofold resources` and `twofold state` show it:
services, addresses, checkers with their verdicts and how these changed; and what is switched off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from twofold.config.load import nearest
from twofold.daemon.checking import Asked, Checking
from twofold.daemon.lifecycle import Lifecycle, Running
from twofold.daemon.switches import ALL, CHECKER, Switches, switched, switched_checker
from twofold.errors import CommandRefused, TwofoldError

PROBE_TIMEOUT_S = 2.0


def verdicts(checking: Checking) -> list[dict[str, Any]]:
    """One short object for each checker; `ok` is None before the first verdict."""
    return [
        {
            "name": name,
            "ok": asked.tally.ok,
            "text": asked.tally.text,
            "on": not checking.is_off(name),
            "unsteady": asked.tally.unsteady,
            "side": asked.watched.side,
        }
        for name, asked in checking.asked.items()
    ]


def checkers(checking: Checking) -> list[dict[str, Any]]:
    """The long form: also what counts, what follows, and the last changes, newest first."""
    return [{**short, **_more(checking.asked[str(short["name"])])} for short in verdicts(checking)]


def _more(asked: Asked) -> dict[str, Any]:
    watched, tally = asked.watched, asked.tally
    return {
        "kind": watched.kind,
        "action": watched.action,
        "interval_s": watched.interval_s,
        "failures_to_count": watched.failures,
        "failures": tally.failures,
        "history": [
            {"at": change.at, "ok": change.ok, "text": change.text}
            for change in reversed(asked.history)
        ],
    }


async def of(running: Running) -> dict[str, Any]:
    """Everything about one module."""
    view = running.driver.view
    return {
        "module": running.module.name,
        "node": view.settings.node,
        "state": view.state.value,
        "services": await services(running),
        "addresses": await addresses(running),
        "checkers": checkers(running.checking),
        "switched": running.switches.data(),
        "failover": view.settings.failover,
        "boot": _boot(running, running.switches),
    }


def _boot(running: Running, switches: Switches) -> bool:
    configured = running.module.config.module.boot
    return configured if switches.boot is None else switches.boot


async def addresses(running: Running) -> list[dict[str, Any]]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            held = await running.driver.parts.address.held()
    except (TwofoldError, TimeoutError):
        return [{"ip": a.ip, "held": False} for a in running.module.config.addresses]
    return [{"ip": a.ip, "held": a.held, "interface": a.interface} for a in held]


async def services(running: Running) -> list[dict[str, Any]]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            found = await running.driver.parts.application.status()
    except (TwofoldError, TimeoutError):
        return []
    return [{"name": s.name, "running": s.running, "pid": s.pid, "detail": s.detail} for s in found]


async def switch(
    lifecycle: Lifecycle, running: Running, by: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """`what` is checker (with `name`, "*" for all), failover or boot; `on` says which way."""
    what, on, name = str(body.get("what")), bool(body.get("on")), str(body.get("name") or ALL)
    section = (running.pending or running.module).config.module
    word = "on" if on else "off"
    if what == CHECKER:
        known = list(running.checking.asked)
        if name != ALL and name not in known:
            has = f"Its checkers are {', '.join(known)}." if known else "It has no checker."
            raise CommandRefused(
                f"module {running.module.name!r} has no checker {name!r}",
                nearest(name, known) or has,
            )
        after = switched_checker(running.switches, name, on, known)
        thing = "all checkers" if name == ALL else f"checker {name}"
    else:
        configured = bool(getattr(section, what, False))
        after = switched(running.switches, what, on, configured)
        thing = {"failover": "failover", "boot": "the start with the machine"}[what]
    sentence = f"{by} switched {word} {thing} of {running.module.name}"
    await lifecycle.switch(running.module.name, after, sentence)
    return {"module": running.module.name, "sentence": sentence, "switched": after.data()}
