"""`state.json`: what a module must remember through a crash, one small file for each module.

Written aside, synced and renamed by `adapters.statefile`. A file that cannot be read is refused:
a wrong memory of an epoch is worse than a person who looks at it.

Moments (the loops that count, the last failure) stand in the time of the calendar, seconds since
1970, and are the machine's own time again when they are read. A calendar that was set back makes
them "just now", never later: what counts against a restart is kept rather than forgotten.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twofold.errors import MachineError
from twofold.machine.model import REMEMBERED, Offer, View

VERSION = 1
# A file of before has nothing to say about these.
SINCE: dict[str, object] = {
    "alone_epoch": 0,
    "claimed": 0,
    "asked_epoch": 0,
    "let_go": False,
    "loops_at": [],
    "failed_at": None,
}
MOMENTS = {"loops_s": "loops_at", "failed_at_s": "failed_at"}
PLAIN = tuple(name for name in REMEMBERED if name not in MOMENTS)
LOOPS_MAX = 1000
_REMEMBERED: Callable[[View], tuple[object, ...]] = operator.attrgetter(*REMEMBERED)


def encode(view: View, wall_s: float) -> bytes:
    """`wall_s` is the calendar's time at `view.now_s`."""
    fields: dict[str, Any] = {name: getattr(view, name) for name in PLAIN}
    fields["offer"] = view.offer.value if view.offer else None
    shift_s = wall_s - view.now_s
    fields["loops_at"] = [round(at_s + shift_s, 3) for at_s in view.loops_s[-LOOPS_MAX:]]
    at_s = view.failed_at_s
    fields["failed_at"] = None if at_s is None else round(at_s + shift_s, 3)
    return (json.dumps({"version": VERSION, **fields}, indent=1) + "\n").encode()


def remembered(view: View) -> tuple[object, ...]:
    """What `encode` depends on: when it is the same, nothing needs to be written."""
    return _REMEMBERED(view)


def decode(text: bytes, view: View, file: str, wall_s: float) -> View:
    """The view with what was remembered; `wall_s` as in `encode`."""
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields.pop("version") != VERSION:
            raise ValueError("another version")
        fields = {**SINCE, **fields}
        known = {k: v for k, v in fields.items() if k in PLAIN}
        known["offer"] = Offer(known["offer"]) if known.get("offer") else None
        for name in PLAIN:
            expected = getattr(View(), name)
            if isinstance(expected, int) and not isinstance(known.get(name), int):
                raise ValueError(f"{name} is missing")

        def moment_s(at: Any) -> float:
            return view.now_s - max(0.0, wall_s - float(at))

        known["loops_s"] = tuple(moment_s(at) for at in fields["loops_at"][-LOOPS_MAX:])
        failed_at = fields["failed_at"]
        known["failed_at_s"] = None if failed_at is None else moment_s(failed_at)
        return replace(view, **known, spent=known["asked_epoch"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MachineError(
            f"{file} is damaged and cannot be read",
            "If the other node serves, delete the file and start this module again.",
        ) from None
