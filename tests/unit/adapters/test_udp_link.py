"""Datagrams arrive by the network they were sent on; a dead peer is no error."""

from __future__ import annotations

import asyncio
import socket

import pytest

from twofold.adapters.udp_link import UdpLink, Wire
from twofold.errors import MachineError

NETWORKS = {"lan": "127.78.0.", "flow": "127.78.1."}


def link(me: int, peer: int, port: int) -> UdpLink:
    return UdpLink(tuple(Wire(n, f"{p}{me}", (f"{p}{peer}",)) for n, p in NETWORKS.items()), port)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


async def test_each_network_carries_its_own() -> None:
    port = free_port()
    left, right = link(1, 2, port), link(2, 1, port)
    heard: list[tuple[str, bytes]] = []
    right.on_datagram(lambda network, datagram: heard.append((network, datagram)))
    tasks = [asyncio.create_task(side.run()) for side in (left, right)]
    try:
        await asyncio.sleep(0.05)
        left.send(b"beat")
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.01)
        assert sorted(heard) == [("flow", b"beat"), ("lan", b"beat")]
        tasks[1].cancel()
        await asyncio.sleep(0.05)
        for _ in range(5):  # the peer's port is closed: ICMP comes back, and is no error
            left.send(b"beat")
            await asyncio.sleep(0.01)
        assert not tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()


async def test_a_port_in_use_is_said_in_a_sentence() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.78.0.1", port))
        with pytest.raises(MachineError, match=r"127\.78\.0\.1 port"):
            await link(1, 2, port).run()


async def test_an_address_that_is_not_here_yet_is_no_error() -> None:
    only = UdpLink((Wire("lan", "192.0.2.77", ("192.0.2.78",)),), free_port())
    task = asyncio.create_task(only.run())
    await asyncio.sleep(0.05)
    only.send(b"beat")
    assert not task.done()
    task.cancel()


async def test_all_that_waits_is_read_before_anything_else_happens() -> None:
    """After a pause the first heartbeat in the socket is long untrue."""
    port = free_port()
    left, right = link(1, 2, port), link(2, 1, port)
    heard: list[bytes] = []
    decided: list[int] = []
    loop = asyncio.get_running_loop()

    def told(_network: str, datagram: bytes) -> None:
        if not heard:
            loop.call_soon(lambda: decided.append(len(heard)))
        heard.append(datagram)

    right.on_datagram(told)
    tasks = [asyncio.create_task(side.run()) for side in (left, right)]
    try:
        await asyncio.sleep(0.05)
        for number in range(150):  # without a pause of this thread: nothing is read meanwhile
            left.send(f"beat {number}".encode())
        async with asyncio.timeout(5):
            while not decided:
                await asyncio.sleep(0.01)
        assert decided == [300]
    finally:
        for task in tasks:
            task.cancel()
