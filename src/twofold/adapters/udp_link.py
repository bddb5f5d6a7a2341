"""Heartbeat datagrams on every network of the cluster.

One socket for each of this node's addresses, so that a datagram for network N leaves by N and what
arrives is known to have come over N. An address that is not on an interface yet (cable, DHCP) is
bound all the same. A send that fails is a lost heartbeat, not an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from twofold.errors import MachineError

_DATAGRAM_BYTES_MAX = 65536
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78
_SO_RCVBUFFORCE = 33
_RECEIVE_BYTES = 2 << 20
_BURST_MAX = 2048  # more than fits into the socket's buffer
_TOS_INTERACTIVE = 0xB8  # expedited forwarding: small and urgent

log = logging.getLogger("twofold.heartbeat")


@dataclass(frozen=True)
class Wire:
    """One network: our address, and the others'."""

    network: str
    address: str
    peers: tuple[str, ...]


class UdpLink:
    """Implements `twofold.ports.HeartbeatPort`."""

    def __init__(self, wires: tuple[Wire, ...], port: int) -> None:
        self._wires = wires
        self._port = port
        self._sockets: dict[str, socket.socket] = {}
        self._told: Callable[[str, bytes], None] = lambda _n, _d: None

    def on_datagram(self, told: Callable[[str, bytes], None]) -> None:
        self._told = told

    async def run(self) -> None:
        """Listen until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            for wire in self._wires:
                self._sockets[wire.network] = bound_socket(wire.address, self._port)
            for network, sock in self._sockets.items():
                loop.add_reader(sock, self._receive, network, sock)
            await asyncio.Event().wait()  # until cancelled
        finally:
            for sock in self._sockets.values():
                loop.remove_reader(sock)
                sock.close()
            self._sockets.clear()

    def _receive(self, network: str, sock: socket.socket) -> None:
        """All that waits, before anybody decides: after a pause the first is long untrue."""
        for _ in range(_BURST_MAX):  # a flood leaves the loop to others now and then
            try:
                datagram = sock.recv(_DATAGRAM_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP answer to an earlier send: the peer is not there
            self._told(network, datagram)

    def send(self, payload: bytes) -> None:
        for wire in self._wires:
            sock = self._sockets.get(wire.network)
            if sock is None:
                continue
            for peer in wire.peers:
                with contextlib.suppress(OSError):
                    sock.sendto(payload, (peer, self._port))


def bound_socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # a hundred modules speak in one burst
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS_INTERACTIVE)
        sock.bind((address, port))
    except OSError as e:
        sock.close()
        raise MachineError(
            f"cannot send heartbeats from {address} port {port}: {e.strerror}",
            "Another program has that port; `ss -lunp` shows which.",
        ) from None
    return sock
