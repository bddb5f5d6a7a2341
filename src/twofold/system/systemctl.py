"""What `systemctl show` says of a unit."""

from __future__ import annotations

from dataclasses import dataclass

_STATES_UP = ("active", "reloading")


@dataclass(frozen=True)
class UnitState:
    """What `systemctl show` says."""

    active: str
    sub: str
    pid: int | None

    @property
    def running(self) -> bool:
        return self.active in _STATES_UP


def read_show(text: str) -> UnitState:
    """Of the lines KEY=VALUE."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    pid = values.get("MainPID", "0")
    number = int(pid) if pid.isdigit() else 0
    return UnitState(
        values.get("ActiveState", "unknown"), values.get("SubState", ""), number or None
    )
