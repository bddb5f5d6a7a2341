"""ICMP echo: does a host answer? Over a raw socket, which root may have."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct

_ECHO_4, _REPLY_4 = 8, 0
_ECHO_6, _REPLY_6 = 128, 129
_HEAD = struct.Struct("!BBHHH")
EVERY_S = 0.25
_numbers = itertools.count(1)


async def reached(address: str, bound_s: float) -> str:
    """The address when it answered within the bound, else nothing."""
    six = ":" in address
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    try:
        with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
            sock.setblocking(False)
            sock.connect((address, 0))  # only what this address sends is received
            async with asyncio.timeout(bound_s):
                await _until_answered(sock, six)
                return address
    except (OSError, TimeoutError):
        return ""


async def _until_answered(sock: socket.socket, six: bool) -> None:
    loop = asyncio.get_running_loop()
    mark = struct.pack("!HH", os.getpid() & 0xFFFF, next(_numbers) & 0xFFFF)
    while True:
        with contextlib.suppress(OSError):  # no route now: there may be one in a moment
            sock.send(echo(six, mark))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                while not answered(await loop.sock_recv(sock, 1500), six, mark):
                    pass
                return


def echo(six: bool, mark: bytes) -> bytes:
    """An echo request; the kernel fills in the checksum of IPv6."""
    kind = _ECHO_6 if six else _ECHO_4
    number = struct.unpack("!HH", mark)
    checksum = 0 if six else _checksum(_HEAD.pack(kind, 0, 0, *number))
    return _HEAD.pack(kind, 0, checksum, *number)


def answered(packet: bytes, six: bool, mark: bytes) -> bool:
    """Whether this is the reply to the request with that mark (IPv4 comes with its IP header)."""
    start = 0 if six or not packet else (packet[0] & 0x0F) * 4
    icmp = packet[start:]
    return len(icmp) >= 8 and icmp[0] == (_REPLY_6 if six else _REPLY_4) and icmp[4:8] == mark


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
