"""What people ask the engine about its copies: a verification, what a resync would cost.

The engine does it by itself; nothing about it is a decision of the state machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.errors import CommandRefused, MirrorFailed, MirrorRefused
from twofold.ports import MirrorPort

_MENDS = {
    "not_primary": "Ask where the module serves; see: twofold state",
    "no_secondary": "Wait until the other node is SECOND and Ready; see: twofold state",
    "busy": "Follow it: twofold mirror verify --follow; or end it: --stop",
}


async def asked(engine: MirrorPort, node: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's answer; its refusal as one that a person can act on."""
    try:
        match body["command"]:
            case "verify":
                await engine.command("verify", repair=bool(body.get("repair")))
            case "verify_stop":
                await engine.command("stop_verify")
            case "estimate":
                estimate = (await engine.command("estimate"))["estimate"]
                return {"module": body.get("module"), "node": node, "estimate": estimate}
            case "resync":
                begins = (await engine.command("resync"))["begins"]
                return {"module": body.get("module"), "node": node, "begins": begins}
            case _:
                pass
        result = await engine.command("verify_result")
    except MirrorRefused as e:
        raise CommandRefused(e.sentence, _MENDS.get(e.reason, "")) from None
    except MirrorFailed as e:
        raise CommandRefused(e.sentence, "Start the module first: twofold start") from None
    return {"module": body.get("module"), "node": node, "verify": result["verify"]}
