"""From a host's name to an address, bounded: a name server that is silent stops nobody else.

The C library's resolver blocks a thread for as long as it likes, so it has threads of its own here
(never those of the daemon), and one question for each name at a time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from concurrent.futures import Future, ThreadPoolExecutor

_POOL = ThreadPoolExecutor(2, "names")
_asking: dict[str, Future[str]] = {}


async def address_of(host: str, bound_s: float) -> str:
    """Raises `OSError` with a sentence when there is none, or none in time."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    asked = _asking.get(host)
    if asked is None:
        asked = _asking[host] = _POOL.submit(_resolve, host)
        asked.add_done_callback(lambda _: _asking.pop(host, None))
    try:
        async with asyncio.timeout(bound_s):
            return await asyncio.shield(asyncio.wrap_future(asked))
    except TimeoutError:
        raise OSError(f"no name server told the address of {host} within {bound_s:g} s") from None


def plain(error: Exception) -> str:
    """What the system says of it, without what asyncio adds."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _resolve(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(f"the name {host} has no address: {error.strerror or error}") from None
    return str(found[0][4][0])
