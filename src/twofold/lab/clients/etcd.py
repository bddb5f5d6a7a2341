"""The part of etcd's protocol that kine speaks: read, create, update, watch. Over gRPC.

The messages are few and flat, so they are encoded here, field by field, after the numbers of etcd's
public `rpc.proto`. gRPC itself, HTTP/2 with its time-outs, is grpcio's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc

_VARINT, _BYTES = 0, 2
_EQUAL, _TARGET_MOD = 0, 2

Fields = dict[int, list[Any]]


# ---- protobuf, as much as is needed ---------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def text(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(message: bytes) -> Fields:
    """Every field of a message: numbers as int, everything else as bytes."""
    found: Fields = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == _VARINT:
            value, at = _read_varint(message, at)
            found.setdefault(key >> 3, []).append(value)
        elif key & 7 == _BYTES:
            length, at = _read_varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is longer than its message")
            found.setdefault(key >> 3, []).append(message[at : at + length])
            at += length
        else:
            raise ValueError(f"wire type {key & 7} is not used by etcd's messages")
    return found


def _one(message: Fields, field: int, default: Any) -> Any:
    return message.get(field, [default])[-1]


# ---- messages -------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyValue:
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True)
class Written:
    """A transaction's answer: applied or not, the revision, and what the key holds otherwise."""

    applied: bool
    revision: int
    found: KeyValue | None


@dataclass(frozen=True)
class Batch:
    """One message of a watch."""

    revision: int
    changed: list[KeyValue]
    cancelled: str | None
    compact_revision: int


def _key_value(raw: bytes) -> KeyValue:
    kv = fields(raw)
    return KeyValue(_one(kv, 1, b""), _one(kv, 5, b""), _one(kv, 2, 0), _one(kv, 3, 0))


def _revision(message: Fields) -> int:
    return _one(fields(_one(message, 1, b"")), 3, 0)


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys with this prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def range_request(key: bytes, end: bytes = b"", limit: int = 0) -> bytes:
    out = text(1, key)
    out += text(2, end) if end else b""
    return out + (number(3, limit) if limit else b"")


def write_request(key: bytes, value: bytes, expected_revision: int) -> bytes:
    """One of the two shapes kine knows: create (revision 0) and update (else: read the key)."""
    compare = number(1, _EQUAL) + number(2, _TARGET_MOD) + text(3, key)
    compare += number(6, expected_revision)
    put = text(2, text(1, key) + text(2, value))
    out = text(1, compare) + text(2, put)
    if expected_revision:
        out += text(3, text(1, range_request(key)))
    return out


def watch_request(prefix: bytes, start_revision: int) -> bytes:
    create = text(1, prefix) + text(2, prefix_end(prefix)) + number(3, start_revision)
    return text(1, create)


def read_range(raw: bytes) -> tuple[int, list[KeyValue], bool]:
    message = fields(raw)
    more = bool(_one(message, 3, 0))
    return _revision(message), [_key_value(kv) for kv in message.get(2, [])], more


def read_written(raw: bytes) -> Written:
    message = fields(raw)
    found = None
    for answer in message.get(3, []):
        for inner in fields(answer).get(1, []):
            _, kvs, _ = read_range(inner)
            found = kvs[0] if kvs else None
    return Written(bool(_one(message, 2, 0)), _revision(message), found)


def read_batch(raw: bytes) -> Batch:
    message = fields(raw)
    changed = [_key_value(kv) for event in message.get(11, []) for kv in fields(event).get(2, [])]
    cancelled = None
    if _one(message, 4, 0):
        cancelled = _one(message, 6, b"").decode() or "cancelled"
    return Batch(_revision(message), changed, cancelled, _one(message, 5, 0))


# ---- the client -----------------------------------------------------------------------------

Unary = Callable[..., bytes]


class Endpoint:
    """One kine. Each call has its time-out; a failure is `grpc.RpcError`."""

    def __init__(self, target: str) -> None:
        self.target = target
        # Reconnects must not wait longer than an outage may last.
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 300),
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel: Any = grpc.insecure_channel(target, options=options)
        self._range = cast(Unary, self._channel.unary_unary("/etcdserverpb.KV/Range"))
        self._txn = cast(Unary, self._channel.unary_unary("/etcdserverpb.KV/Txn"))
        self._watch = self._channel.stream_stream("/etcdserverpb.Watch/Watch")

    def read(self, key: bytes, timeout_s: float) -> tuple[int, KeyValue | None]:
        revision, kvs, _ = read_range(self._range(range_request(key), timeout=timeout_s))
        return revision, kvs[0] if kvs else None

    def read_prefix(self, prefix: bytes, timeout_s: float) -> tuple[int, list[KeyValue]]:
        found: list[KeyValue] = []
        start, end = prefix, prefix_end(prefix)
        while True:
            raw = self._range(range_request(start, end, 500), timeout=timeout_s)
            revision, kvs, more = read_range(raw)
            found += kvs
            if not more or not kvs:
                return revision, found
            start = kvs[-1].key + b"\0"

    def write(self, key: bytes, value: bytes, expected_revision: int, timeout_s: float) -> Written:
        return read_written(
            self._txn(write_request(key, value, expected_revision), timeout=timeout_s)
        )

    def watch(self, prefix: bytes, start_revision: int, ended: Any) -> Iterator[Batch]:
        """Changes from a revision on; `ended` (a threading.Event) closes the request side."""

        def requests() -> Iterator[bytes]:
            yield watch_request(prefix, start_revision)
            ended.wait()

        for raw in self._watch(requests()):
            yield read_batch(raw)

    def close(self) -> None:
        self._channel.close()
