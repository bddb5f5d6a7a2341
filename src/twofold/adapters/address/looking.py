"""Is a held virtual address usable, and nobody else's? Three looks: netlink has it on an interface,
a socket can be bound to it, and nobody else on that network answers for it.

A stranger with the address (a machine that was given it by mistake, a node that should have let go)
makes clients reach the wrong one at random.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from twofold.adapters.address import links as linking
from twofold.adapters.address.duplicate import who_has
from twofold.adapters.address.links import Ip
from twofold.ports import HeldAddress, Verdict
from twofold.wire.neighbour import mac_text


async def look(wanted: Sequence[HeldAddress], links: tuple[linking.Link, ...]) -> Verdict:
    """What is wrong with them, or that nothing is."""
    missing = [one.ip for one in wanted if not one.held]
    if missing:
        return Verdict(False, f"{', '.join(missing)} is not on any interface of this node")
    ips = [ipaddress.ip_interface(one.ip).ip for one in wanted]
    for ip in ips:
        if why := _unusable(ip):
            return Verdict(False, f"{ip} is there but cannot be used: {why}")
    strangers = await asyncio.gather(*(_stranger(ip, links) for ip in ips))
    for ip, stranger in zip(ips, strangers, strict=True):
        if stranger:
            return Verdict(False, f"another host ({stranger}) answers for {ip} too")
    where = ", ".join(f"{one.ip} on {one.interface}" for one in wanted)
    return Verdict(True, f"{where}, and nobody else answers for it")


async def _stranger(ip: Ip, links: tuple[linking.Link, ...]) -> str:
    at = linking.holder(links, ip)
    if at is None:
        return ""
    ours = frozenset(link.mac for link in links if link.mac is not None)
    mac = await who_has(ip, at[0], ours)
    return mac_text(mac) if mac is not None else ""


def _unusable(ip: Ip) -> str:
    """Tentative and duplicate addresses of IPv6 are listed, but nothing can listen on them."""
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trying:
            trying.bind((str(ip), 0))
    except OSError as error:
        return error.strerror or str(error)
    return ""
