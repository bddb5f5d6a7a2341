"""What a person switched on or off on this node, remembered until it is switched back.

A switch goes over the configuration, and is no part of it: for the hour of an upgrade or a repair,
not for ever. It survives restarts of the daemon and of the machine, and `twofold state` shows it
all the time, so that nobody forgets it. A file that cannot be read counts as no switch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from twofold.adapters.statefile import StateFile
from twofold.errors import CommandRefused
from twofold.machine.model import Settings

ALL = "*"
CHECKER, FAILOVER, BOOT = "checker", "failover", "boot"


@dataclass(frozen=True)
class Switches:
    """`failover` and `boot` are None where the configuration counts."""

    checkers_off: frozenset[str] = frozenset()
    failover: bool | None = None
    boot: bool | None = None

    def over(self, settings: Settings) -> Settings:
        return settings if self.failover is None else replace(settings, failover=self.failover)

    def data(self) -> dict[str, Any]:
        return {
            "checkers_off": sorted(self.checkers_off),
            "failover": self.failover,
            "boot": self.boot,
        }


def switched_checker(before: Switches, name: str, on: bool, known: Iterable[str]) -> Switches:
    """`name` may be "*": all, and with them the watch over the services' own ends."""
    off = before.checkers_off
    if name == ALL:
        return replace(before, checkers_off=frozenset() if on else frozenset({ALL}))
    if on:
        every = frozenset(known) if ALL in off else off
        return replace(before, checkers_off=every - {name})
    return replace(before, checkers_off=off | {name})


def switched(before: Switches, what: str, on: bool, configured: bool) -> Switches:
    """`failover` or `boot`; back to what is configured is no switch any more."""
    value = None if on == configured else on
    match what:
        case "failover":
            return replace(before, failover=value)
        case "boot":
            return replace(before, boot=value)
        case _:
            raise CommandRefused(f"there is no switch {what!r}", "Use checker, failover or boot.")


class SwitchFile:
    """VAR/MODULE/switches.json."""

    def __init__(self, directory: Path) -> None:
        self._file = StateFile(directory / "switches.json")

    def read(self) -> Switches:
        try:
            found: Any = json.loads(self._file.read() or b"{}")
            off = cast(list[Any], found.get("checkers_off", []))
            failover, boot = found.get("failover"), found.get("boot")
        except (OSError, ValueError, AttributeError):
            return Switches()
        return Switches(
            frozenset(str(name) for name in off),
            failover if isinstance(failover, bool) else None,
            boot if isinstance(boot, bool) else None,
        )

    async def write(self, switches: Switches) -> None:
        await self._file.write(json.dumps(switches.data()).encode() + b"\n")
