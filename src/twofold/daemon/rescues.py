"""The commands about rescues, answered for this node: checked here, done by the port.

They work in every state of the module, also while it is stopped. A rescue that a resync is filling
can be looked at and extracted, but not deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.errors import CommandRefused
from twofold.ports import RescuePort

NAMES_MAX = 1000


async def asked(
    rescues: RescuePort | None, status: Mapping[str, Any] | None, body: Mapping[str, Any]
) -> dict[str, Any]:
    """`status`: the engine's, as it said it last."""
    if rescues is None:
        raise CommandRefused("this module has no replicated directories, so nothing to rescue")
    module, command = body.get("module"), str(body.get("command"))
    if command == "rescue_list":
        return {"module": module, "rescues": list(await rescues.list())}
    rescue = _text(body, "rescue", "Its name is in: twofold mirror rescue list")
    match command:
        case "rescue_show":
            limit = body.get("limit")
            limit = limit if isinstance(limit, int) and 0 <= limit <= NAMES_MAX else NAMES_MAX
            return {"module": module, "rescue": dict(await rescues.show(rescue, limit))}
        case "rescue_extract":
            into = _text(body, "into", "Name a new directory: --into /var/tmp/rescued")
            done = await rescues.extract(rescue, into, bool(body.get("with_current")))
            return {"module": module, "extracted": dict(done)}
        case _:
            engine: Any = (status or {}).get("rescue") or {}
            if engine.get("id") == rescue:
                raise CommandRefused(
                    f"rescue {rescue} is being filled by a resync", "Delete it when that has ended."
                )
            return {"module": module, "deleted": dict(await rescues.delete(rescue))}


def _text(body: Mapping[str, Any], field: str, mend: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value or "\0" in value:
        raise CommandRefused(f"{field} is missing or is not a text", mend)
    return value
