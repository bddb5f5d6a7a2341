"""The engine's control socket and configuration file, as docs/internals/interfaces.md has them.

Requests and replies are JSON lines; a line with `event` instead of `id` is news. `engine_from`
makes of a status what decisions need.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from twofold.errors import MirrorFailed, MirrorRefused
from twofold.machine.model import Engine, Relation
from twofold.wire.heartbeat import generation_from

LINE_BYTES_MAX = 1024 * 1024
SOCKET_NAME = "mirror.sock"
CONFIG_NAME = "mirror.json"
LOG_NAME = "mirror.log"


def config_file(config: Mapping[str, Any]) -> bytes:
    return (json.dumps(config, indent=1) + "\n").encode()


def request(number: int, command: str, fields: Mapping[str, Any]) -> bytes:
    body = {"id": number, "command": command, **fields}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def message(line: bytes) -> dict[str, Any]:
    """One line of the engine; raises `MirrorFailed` when it is not a message."""
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        raise MirrorFailed("the engine said something that is not JSON") from None
    if not isinstance(found, dict):
        raise MirrorFailed("the engine said something that is not a message")
    return cast(dict[str, Any], found)


def checked(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The reply, or the refusal in it as an error."""
    if reply.get("ok") is True:
        return reply
    error: Any = reply.get("error") or {}
    raise MirrorRefused(str(error.get("code", "unknown")), str(error.get("text", "no reason")))


def relation_of(reply: Mapping[str, Any]) -> Relation:
    try:
        return Relation(str(reply["relation"]))
    except (KeyError, ValueError):
        raise MirrorFailed("the engine compared generations and gave no answer") from None


def engine_from(status: Mapping[str, Any]) -> Engine:
    """Raises `MirrorFailed` when the status is not one."""
    try:
        generation = generation_from(status["generation"])
        silent_ms = status.get("link_silent_ms")
        failed: Any = status.get("failed")
        rescue: Any = status.get("rescue") or {}
        return Engine(
            role=str(status["role"]),
            epoch=int(status["epoch"]),
            alone=bool(status.get("alone", False)),
            link_up=status["link"] == "up",
            link_silent_s=None if silent_ms is None else float(silent_ms) / 1000.0,
            up_to_date=bool(status["up_to_date"]),
            trusted=bool(status.get("trusted", True)),
            peer_up_to_date=bool(status["peer_up_to_date"]),
            frozen=bool(status.get("frozen", False)),
            resync_percent=_percent(status.get("resync")),
            refused=status.get("refused"),
            failed=str(failed["what"]) if failed else None,
            failed_text=str(failed.get("text", "")) if failed else "",
            welcomed_epoch=int(status.get("welcomed_epoch", 0)),
            rescuing=bool(rescue.get("id")),
            rescues=int(rescue.get("kept", 0)),
            generation=generation,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise MirrorFailed(f"the engine's status cannot be read ({e})") from None


def _percent(resync: Mapping[str, Any] | None) -> float | None:
    if not resync:
        return None
    done, total = resync.get("bytes_done", 0), resync.get("bytes_total")
    if not total:
        return 0.0
    return min(100.0, 100.0 * float(done) / float(total))
