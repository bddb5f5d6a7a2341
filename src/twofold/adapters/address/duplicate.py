"""Looking for another host that has a virtual address, before this node takes it.

Three probes, 70 ms apart, and a last 70 ms to listen: take-over is delayed by 210 ms at most, and
a host on the same link answers in less than one. Silence means free, as RFC 5227 has it; that it
waits for seconds is for hosts that boot together, which is not the case here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from twofold.adapters.address.links import Ip, Link
from twofold.wire import neighbour

PROBES = 3
PROBE_GAP_S = 0.07


async def who_has(ip: Ip, link: Link, ours: frozenset[bytes]) -> bytes | None:
    """The MAC address of another host that answers for `ip` on this link, or None.

    `ours`: the MACs of this node's own interfaces, whose frames a bridge may bring back.
    """
    if link.mac is None:
        return None
    loop = asyncio.get_running_loop()
    kind = socket.htons(neighbour.ethertype(ip))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, kind) as link_socket:
        link_socket.setblocking(False)
        link_socket.bind((link.name, neighbour.ethertype(ip)))
        listening = asyncio.create_task(_listen(link_socket, ip, ours))
        try:
            for _ in range(PROBES):
                with contextlib.suppress(OSError):  # link down: nobody can answer either
                    await loop.sock_sendall(link_socket, neighbour.probe(link.mac, ip))
                found, _ = await asyncio.wait((listening,), timeout=PROBE_GAP_S)
                if found:
                    return listening.result()
            return None
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await listening


async def _listen(link_socket: socket.socket, ip: Ip, ours: frozenset[bytes]) -> bytes | None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            frame = await loop.sock_recv(link_socket, 2048)
        except OSError:  # the link went down or away
            await asyncio.sleep(PROBE_GAP_S)
            continue
        claim = neighbour.read_claim(frame)
        if claim is not None and claim.ip == ip and claim.mac not in ours:
            return claim.mac
