"""JSON lines: the frame that the local socket and the control channel share.

One message is one JSON object on one line. A request has `id` and `command`; its reply has the same
`id` and `ok`, and, when `ok` is false, `error` with `code` (for scripts), `text` (what is wrong,
where) and `mend` (what to do). Whatever is not that is refused with a reason; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from twofold import errors
from twofold.errors import PeerRefused, TwofoldError

LINE_BYTES_MAX = 4 * 1024 * 1024


def encode(message: Mapping[str, Any]) -> bytes:
    """The message as one line."""
    line = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise PeerRefused(
            f"a message of {len(line)} bytes is larger than the {LINE_BYTES_MAX} allowed"
        )
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line; raises `PeerRefused` for anything that is not one."""
    if len(line) > LINE_BYTES_MAX:
        raise PeerRefused(f"a line of more than {LINE_BYTES_MAX} bytes was received")
    if not line.endswith(b"\n"):
        raise PeerRefused("the connection ended in the middle of a message")
    try:
        message: object = json.loads(line)
    except (ValueError, RecursionError):
        raise PeerRefused("a line that is not JSON was received") from None
    if not isinstance(message, dict):
        raise PeerRefused("a message that is not a JSON object was received")
    return cast(dict[str, Any], message)


def decode_request(line: bytes) -> tuple[int, dict[str, Any]]:
    """(id, body) of a request; the body has at least `command`."""
    message = decode(line)
    number, command = message.pop("id", None), message.get("command")
    if not isinstance(number, int) or isinstance(number, bool):
        raise PeerRefused("a request without a whole number as id was received")
    if not isinstance(command, str) or not command:
        raise PeerRefused("a request without a command was received")
    return number, message


def request(number: int, body: Mapping[str, Any]) -> bytes:
    return encode({**body, "id": number})


def reply(number: int, answer: Mapping[str, Any]) -> bytes:
    assert not answer.keys() & {"id", "ok", "error"}, "these keys are the frame's own"
    return encode({**answer, "id": number, "ok": True})


def refusal(number: int, error: Exception) -> bytes:
    return encode({"id": number, "ok": False, "error": error_object(error)})


def decode_reply(line: bytes, number: int) -> dict[str, Any]:
    """The answer to request `number`; raises the error that the other side sent."""
    message = decode(line)
    if message.pop("id", None) != number:
        raise PeerRefused("an answer to another question was received")
    if message.pop("ok", None) is True:
        return message
    raise error_from(message.get("error"))


def error_object(error: Exception) -> dict[str, str]:
    """An error as data. One that is not ours is a bug: its type is told, its insides are not."""
    if isinstance(error, TwofoldError):
        return {"code": error.code, "text": error.sentence or str(error), "mend": error.mend}
    return {
        "code": "bug",
        "text": f"an internal error ({type(error).__name__}) stopped this command",
        "mend": "The daemon's log has the details; please report it.",
    }


def error_from(data: object) -> TwofoldError:
    """The error that `error_object` made into data, of its own class again."""
    if not isinstance(data, dict):
        return PeerRefused("an answer without a reason was received")
    fields = cast(dict[str, Any], data)
    code = str(fields.get("code", ""))
    text, mend = str(fields.get("text", "")), str(fields.get("mend", ""))
    for kind in _tree(TwofoldError):
        if kind.code == code and kind is not errors.MirrorRefused:
            return kind(text, mend)
    error = TwofoldError(text, mend)
    error.code = code or "error"
    return error


def _tree(root: type[TwofoldError]) -> Iterator[type[TwofoldError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)
