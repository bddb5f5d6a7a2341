"""The heartbeat datagram: who is alive, and what each module's node says about itself.

    0   4  magic "TFHB"
    4   1  version (1)
    5   3  reserved, zero
    8   8  incarnation: higher at each start of the sender's daemon (big endian)
    16  8  counter: higher with each heartbeat; the same on all networks
    24  n  JSON: {"cluster", "node", "modules": {name: report}}
    -32 32 keyed BLAKE2b of all before

The key is the cluster's; without it nothing can be made or changed. A `Replay` filter refuses what
was sent before: an older incarnation, or a counter that was seen. A report of many modules is split
over several datagrams, each complete in itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from twofold.errors import PeerRefused
from twofold.machine.model import Generation, Offer, Readiness, Report, State

PORT = 9012
VERSION = 1
KEY_BYTES = 32
DATAGRAM_BYTES_MAX = 8192
_MAGIC = b"TFHB"
_HEAD = struct.Struct("!4sB3xQQ")
_MAC_BYTES = 32
_BODY_BYTES_GOAL = 1100  # most datagrams travel unfragmented


@dataclass(frozen=True)
class Heartbeat:
    cluster: str
    node: str
    incarnation: int
    counter: int
    modules: Mapping[str, Report]


def encode(beat: Heartbeat, key: bytes) -> Iterator[bytes]:
    """One or more datagrams with consecutive counters, beginning with `beat.counter`."""
    counter = beat.counter
    for modules in _portions(beat.modules):
        body = {"cluster": beat.cluster, "node": beat.node, "modules": modules}
        head = _HEAD.pack(_MAGIC, VERSION, beat.incarnation, counter)
        signed = head + json.dumps(body, separators=(",", ":")).encode()
        yield signed + _mac(signed, key)
        counter += 1


def _portions(modules: Mapping[str, Report]) -> Iterator[dict[str, Any]]:
    portion: dict[str, Any] = {}
    size = 0
    for name, report in modules.items():
        fields = report_fields(report)
        length = len(json.dumps(fields)) + len(name) + 8
        if portion and size + length > _BODY_BYTES_GOAL:
            yield portion
            portion, size = {}, 0
        portion[name] = fields
        size += length
    yield portion


def decode(datagram: bytes, key: bytes) -> Heartbeat:
    """Raises `PeerRefused` for whatever was not made with this key, or cannot be read."""
    if not _HEAD.size + _MAC_BYTES < len(datagram) <= DATAGRAM_BYTES_MAX:
        raise PeerRefused("a heartbeat of impossible length was received")
    signed, mac = datagram[:-_MAC_BYTES], datagram[-_MAC_BYTES:]
    if not hmac.compare_digest(_mac(signed, key), mac):
        raise PeerRefused("a heartbeat with a wrong key was received")
    magic, version, incarnation, counter = _HEAD.unpack_from(signed)
    if magic != _MAGIC or version != VERSION:
        raise PeerRefused(f"a heartbeat of version {version} was received, this node has {VERSION}")
    try:
        body: dict[str, Any] = json.loads(signed[_HEAD.size :])
        modules = {str(n): report_from(f) for n, f in body["modules"].items()}
        return Heartbeat(str(body["cluster"]), str(body["node"]), incarnation, counter, modules)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PeerRefused("a heartbeat that cannot be read was received") from None


def _mac(signed: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(signed, key=key[:64], digest_size=_MAC_BYTES).digest()


def report_fields(report: Report) -> dict[str, Any]:
    """A report as JSON. What has its default is left out: three modules fit into a datagram."""
    plain = Report().__dict__
    fields = {name: value for name, value in report.__dict__.items() if value != plain[name]}
    fields["state"] = report.state.value
    fields["readiness"] = report.readiness.value
    if report.offer is not None:
        fields["offer"] = report.offer.value
    if report.generation is not None:
        fields["generation"] = generation_fields(report.generation)
    return fields


def report_from(fields: object) -> Report:
    """Unknown fields are left out, so that a newer version may say more."""
    known = _known(fields, Report)
    generation = known.pop("generation", None)
    offer = known.pop("offer", None)
    known["state"] = State(known["state"])
    known["readiness"] = Readiness(known["readiness"])
    known["offer"] = Offer(offer) if offer else None
    known["generation"] = generation_from(generation) if generation else None
    return Report(**known)


def generation_fields(generation: Generation) -> dict[str, Any]:
    return {**generation.__dict__, "history": list(generation.history)}


def generation_from(fields: object) -> Generation:
    known = _known(fields, Generation)
    known["history"] = tuple(str(h) for h in known.get("history", ()))
    return Generation(**known)


def _known(fields: object, kind: type[Report] | type[Generation]) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise TypeError("not an object")
    names = kind.__dataclass_fields__
    defaults = kind().__dict__
    known = {k: v for k, v in cast(dict[str, Any], fields).items() if k in names}
    for name, value in known.items():
        expected = defaults[name]
        if isinstance(expected, bool | int) and not isinstance(value, bool | int):
            raise TypeError(f"{name} is not of its type")
    return known


class Replay:
    """What was heard of one node; `fresh` is true once for each heartbeat."""

    def __init__(self) -> None:
        self._incarnation = 0
        self._counter = 0

    def known(self, beat: Heartbeat) -> bool:
        """Of the sender's present life: counts as a sign of life on its network."""
        recent = beat.counter > self._counter - 16
        return beat.incarnation > self._incarnation or (
            beat.incarnation == self._incarnation and recent
        )

    def fresh(self, beat: Heartbeat) -> bool:
        moment = (beat.incarnation, beat.counter)
        if moment <= (self._incarnation, self._counter):
            return False
        self._incarnation, self._counter = moment
        return True
