"""The sock_diag messages: what the kernel expects to get, and what it may answer."""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from twofold.wire import sockdiag


def _listed(family: int, source: bytes, target: bytes) -> bytes:
    identity = struct.pack("!HH16s16s", 80, 5000, source, target) + bytes(4) + b"cookie!!"
    body = bytes((family, 1, 0, 0)) + identity + bytes(20)
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


def _pad(raw: bytes) -> bytes:
    return raw + bytes(16 - len(raw))


def test_a_dump_is_read_with_mapped_addresses_as_ipv4() -> None:
    mapped = IPv6Address("::ffff:10.0.0.9").packed
    buffer = (
        _listed(2, _pad(bytes((10, 0, 0, 1))), _pad(bytes((10, 0, 0, 9))))
        + _listed(10, mapped, mapped)
        + struct.pack("=IHHII", 20, 3, 0, 1, 0)
        + bytes(4)
    )
    answer = sockdiag.read(buffer)
    assert answer.done and answer.error is None
    first, second = answer.connections
    assert first.touches(IPv4Address("10.0.0.1")) and first.touches(IPv4Address("10.0.0.9"))
    assert not first.touches(IPv4Address("10.0.0.2"))
    assert second.touches(IPv4Address("10.0.0.9"))


def test_ending_names_the_very_socket() -> None:
    listed = sockdiag.read(_listed(2, _pad(b"\x0a\0\0\1"), _pad(b"\x0a\0\0\2"))).connections[0]
    request = sockdiag.end_request(listed)
    assert len(request) == 72
    assert request.endswith(listed.identity) and listed.identity.endswith(b"cookie!!")


def test_errors_come_as_errno() -> None:
    refused = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -errno.EOPNOTSUPP)
    assert sockdiag.read(refused).error == errno.EOPNOTSUPP


@given(st.binary(max_size=200))
def test_garbage_is_read_as_little(garbage: bytes) -> None:
    sockdiag.read(garbage)
