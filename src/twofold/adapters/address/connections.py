"""Ending the TCP connections of an address that moves.

A connection through an address that is no longer here hangs until a retransmission gives up, which
can take a quarter of an hour. `SOCK_DESTROY` ends it at once: the application gets an error and
connects again. A kernel without CONFIG_INET_DIAG_DESTROY refuses; then nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from twofold.wire import sockdiag

_LOG = logging.getLogger("twofold.address")
_NETLINK_SOCK_DIAG = 4
_BUFFER_BYTES = 1 << 18
_WAIT_S = 1.0


def end_connections(ips: Iterable[IPv4Address | IPv6Address]) -> int:
    """End every TCP connection that has one of `ips` on either side; returns how many.

    Blocks for some milliseconds: call it in a thread. Never raises for a connection that would not
    end, as the address moves in any case.
    """
    wanted = tuple(ips)
    if not wanted:
        return 0
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(_WAIT_S)
            netlink.bind((0, 0))
            found = [c for version in (4, 6) for c in _list(netlink, version)]
            return sum(_end(netlink, c) for c in found if any(c.touches(ip) for ip in wanted))
    except OSError as error:
        _LOG.warning("connections of a moved address could not be ended: %s", error.strerror)
        return 0


def _list(netlink: socket.socket, ip_version: int) -> list[sockdiag.Connection]:
    netlink.send(sockdiag.list_request(ip_version))
    found: list[sockdiag.Connection] = []
    while True:
        answer = sockdiag.read(netlink.recv(_BUFFER_BYTES))
        found.extend(answer.connections)
        if answer.done:
            return found


def _end(netlink: socket.socket, connection: sockdiag.Connection) -> bool:
    netlink.send(sockdiag.end_request(connection))
    error = 0
    with contextlib.suppress(TimeoutError):
        error = sockdiag.read(netlink.recv(_BUFFER_BYTES)).error
    if error == errno.EOPNOTSUPP:
        raise OSError(error, "the kernel has no CONFIG_INET_DIAG_DESTROY")
    return error == 0  # else it ended by itself meanwhile
