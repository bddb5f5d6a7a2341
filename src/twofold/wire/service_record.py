"""What the run directory remembers of a module's services: RUN/NAME/services/*.json.

The files are for a daemon that was restarted: which processes are ours, and which sides had been
started. They live in /run, so a reboot forgets them; the boot id guards the case where it does not.
A file that cannot be read counts as absent: the forced end finds processes by their cookie.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

SideState = Literal["starting", "started", "stopping"]
_SIDE_STATES = ("starting", "started", "stopping")


@dataclass(frozen=True)
class ServiceRecord:
    """One service that was started. `pid` is None in the moment before its process exists."""

    service: str
    side: str
    boot_id: str
    cookie: str
    pid: int | None
    start_ticks: int | None
    control_group: str | None
    stop_timeout_s: float
    script: str | None = None  # what it is, when it is no command
    systemd: str | None = None
    compose: str | None = None
    libvirt: str | None = None


def encode_record(record: ServiceRecord) -> str:
    return json.dumps(asdict(record), indent=1) + "\n"


def decode_record(text: str) -> ServiceRecord | None:
    """None for anything that this version did not write."""
    fields = _object(text)
    try:
        pid, ticks, group = fields["pid"], fields["start_ticks"], fields["control_group"]
        return ServiceRecord(
            service=str(fields["service"]),
            side=str(fields["side"]),
            boot_id=str(fields["boot_id"]),
            cookie=str(fields["cookie"]),
            pid=None if pid is None else int(pid),
            start_ticks=None if ticks is None else int(ticks),
            control_group=None if group is None else str(group),
            stop_timeout_s=float(fields["stop_timeout_s"]),
            script=_text(fields.get("script")),
            systemd=_text(fields.get("systemd")),
            compose=_text(fields.get("compose")),
            libvirt=_text(fields.get("libvirt")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def encode_sides(sides: dict[str, SideState], boot_id: str) -> str:
    return json.dumps({"boot_id": boot_id, "sides": sides}) + "\n"


def decode_sides(text: str, boot_id: str) -> dict[str, SideState]:
    """The sides of this boot; empty for another boot's file or an unreadable one."""
    fields = _object(text)
    sides = fields.get("sides")
    if fields.get("boot_id") != boot_id or not isinstance(sides, dict):
        return {}
    known = cast("dict[str, Any]", sides)
    return {side: state for side, state in known.items() if state in _SIDE_STATES}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _object(text: str) -> dict[str, Any]:
    try:
        found: object = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
