"""Telling a link that an address is here now.

One burst changes every cache that hears it, but a frame may be lost, and a switch may still be
learning its new port: so it is said again soon, and then every ten seconds for whoever was
away or has learnt another holder.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from twofold.adapters.address.links import Ip, Link
from twofold.wire import neighbour

REPEAT_AFTER_S = (0.2, 1.0, 3.0)
REPEAT_EVERY_S = 10.0  # after a split a client may have learnt the node that gave way


def repeat_gaps_s() -> Iterator[float]:
    """How long to wait before each repetition; never ends."""
    since_s = 0.0
    for after_s in REPEAT_AFTER_S:
        yield after_s - since_s
        since_s = after_s
    while True:
        yield REPEAT_EVERY_S


def announce(ip: Ip, link: Link) -> None:
    """One burst. A link that is down or full loses it; the next one comes soon."""
    if link.mac is None:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link_socket,
    ):
        link_socket.setblocking(False)
        link_socket.bind((link.name, 0))
        for frame in neighbour.announcements(link.mac, ip):
            link_socket.send(frame)
