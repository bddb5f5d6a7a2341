"""Does a network interface have its link?

The kernel's own word, `operstate`: the state of the cable, of a bond (up while one of its cables
is), of a bridge (up while one of its ports is). It costs no traffic.
"""

from __future__ import annotations

from pathlib import Path

from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict

_CLASS = Path("/sys/class/net")
_WORDS = {
    "down": "is down: no cable, or switched off",
    "lowerlayerdown": "is down: the interface below it has no link",
    "dormant": "is not ready yet: it waits for an authentication or a handshake",
    "notpresent": "is gone",
}


class InterfaceChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._interface = checker.interface or ""

    async def probe(self) -> Verdict:
        return look(self._interface, _CLASS)


def look(interface: str, every: Path) -> Verdict:
    try:
        state = (every / interface / "operstate").read_text().strip()
    except OSError:
        return Verdict(False, f"there is no interface {interface} on this node now")
    if state == "unknown":  # tunnels and the like have no link of their own: administratively up?
        state = "up" if _carrier(every / interface) else "down"
    if state == "up":
        return Verdict(True, f"{interface} has its link")
    return Verdict(False, f"{interface} {_WORDS.get(state, f'is {state}')}")


def _carrier(interface: Path) -> bool:
    try:
        return (interface / "carrier").read_text().strip() == "1"
    except OSError:  # EINVAL while the interface is switched off
        return False
