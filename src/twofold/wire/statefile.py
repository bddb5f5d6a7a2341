"""`state.json`: what a module must remember through a crash, one small file for each module.

Written aside, synced and renamed by `adapters.statefile`. A file that cannot be read is refused:
a wrong memory of an epoch is worse than a person who looks at it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twofold.errors import MachineError
from twofold.machine.model import REMEMBERED, Offer, View

VERSION = 1
SINCE_ARBITRATION = ("alone_epoch", "claimed")  # a file of before has nothing to say about them


def encode(view: View) -> bytes:
    fields: dict[str, Any] = {name: getattr(view, name) for name in REMEMBERED}
    fields["offer"] = view.offer.value if view.offer else None
    return (json.dumps({"version": VERSION, **fields}, indent=1) + "\n").encode()


def remembered(view: View) -> tuple[object, ...]:
    """What `encode` depends on: when it is the same, nothing needs to be written."""
    return tuple(getattr(view, name) for name in REMEMBERED)


def decode(text: bytes, view: View, file: str) -> View:
    """The view with what was remembered."""
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields.pop("version") != VERSION:
            raise ValueError("another version")
        known = {k: v for k, v in fields.items() if k in REMEMBERED}
        known["offer"] = Offer(known["offer"]) if known.get("offer") else None
        for name in SINCE_ARBITRATION:
            known.setdefault(name, 0)
        for name in REMEMBERED:
            expected = getattr(View(), name)
            if isinstance(expected, int) and not isinstance(known.get(name), int):
                raise ValueError(f"{name} is missing")
        return replace(view, **known)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MachineError(
            f"{file} is damaged and cannot be read",
            "If the other node serves, delete the file and start this module again.",
        ) from None
