"""What `systemctl show` says of a unit."""

from __future__ import annotations

from dataclasses import dataclass

_NO_ANSWER = "unknown"
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

    @property
    def answered(self) -> bool:
        """False: systemd gave no answer, which is no state."""
        return self.active != _NO_ANSWER


def read_show(text: str) -> UnitState:
    """Of the lines KEY=VALUE."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    pid = values.get("MainPID", "0")
    number = int(pid) if pid.isdigit() else 0
    return UnitState(
        values.get("ActiveState", _NO_ANSWER), values.get("SubState", ""), number or None
    )


def no_answer() -> UnitState:
    """systemd was asked and said nothing in time."""
    return read_show("")
