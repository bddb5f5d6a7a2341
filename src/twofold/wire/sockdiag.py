"""The kernel's NETLINK_SOCK_DIAG messages (linux/inet_diag.h): list TCP sockets, end one of them.

A listed socket's identity is kept as the kernel gave it (48 bytes with its cookie), so that ending
it can never hit another socket that was made meanwhile with the same ports.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI48s")
_ERRNO = struct.Struct("=i")
_IDENTITY = struct.Struct("=2s2s16s16sI8s")
_BY_FAMILY, _DESTROY = 20, 21
_ERROR, _DONE = 2, 3
_FLAG_REQUEST, _FLAG_ACK, _FLAG_DUMP = 0x1, 0x4, 0x300
_FAMILY = {4: 2, 6: 10}  # AF_INET, AF_INET6
_TCP = 6
_CLOSED, _LISTEN = 7, 10
# Everything but the listeners, which belong to the application and serve other addresses as well.
_STATES = 0xFFF & ~((1 << _CLOSED) | (1 << _LISTEN))


@dataclass(frozen=True)
class Connection:
    """One TCP connection of this network namespace."""

    family: int
    local: IPv4Address | IPv6Address
    remote: IPv4Address | IPv6Address
    identity: bytes

    def touches(self, ip: IPv4Address | IPv6Address) -> bool:
        return ip in (self.local, self.remote)


@dataclass(frozen=True)
class Answer:
    """What one received buffer held. `error` is an errno, 0 for an acknowledgement."""

    connections: tuple[Connection, ...]
    done: bool
    error: int | None


def list_request(ip_version: int) -> bytes:
    """Ask for every TCP connection whose socket is of this IP version."""
    family = _FAMILY[ip_version]
    return _message(_BY_FAMILY, _FLAG_REQUEST | _FLAG_DUMP, family, _STATES, bytes(48))


def end_request(connection: Connection) -> bytes:
    """Ask to end one connection: its owner gets ECONNABORTED, the other side a reset."""
    flags = _FLAG_REQUEST | _FLAG_ACK
    return _message(_DESTROY, flags, connection.family, 0xFFF, connection.identity)


def read(buffer: bytes) -> Answer:
    """Everything in one received buffer."""
    connections: list[Connection] = []
    done, error = False, None
    for kind, body in _messages(buffer):
        if kind == _BY_FAMILY and len(body) >= 4 + 48:
            connections.append(_connection(body[0], body[4:52]))
        elif kind == _DONE:
            done = True
        elif kind == _ERROR and len(body) >= 4:
            done, error = True, -_ERRNO.unpack_from(body)[0]
    return Answer(tuple(connections), done, error)


def _message(kind: int, flags: int, family: int, states: int, identity: bytes) -> bytes:
    body = _REQUEST.pack(family, _TCP, 0, 0, states, identity)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _messages(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    while len(buffer) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(buffer)
        if length < _HEADER.size or length > len(buffer):
            return
        yield kind, buffer[_HEADER.size : length]
        buffer = buffer[(length + 3) & ~3 :]


def _connection(family: int, identity: bytes) -> Connection:
    _, _, source, target, _, _ = _IDENTITY.unpack(identity)
    return Connection(family, _address(family, source), _address(family, target), identity)


def _address(family: int, raw: bytes) -> IPv4Address | IPv6Address:
    if family == _FAMILY[4]:
        return IPv4Address(raw[:4])
    address = ipaddress.IPv6Address(raw)
    # A server that listens on :: has its IPv4 clients as ::ffff:a.b.c.d.
    return address.ipv4_mapped or address
