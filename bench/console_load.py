"""Load on a console, from another machine: run inside the lab's client by `bench.heartbeats`.

    python -m bench.console_load clients|flood URL SECONDS COUNT

`clients` is COUNT browsers without the drawing: each loads a module's page, opens its socket,
shakes hands and takes in what comes. `flood` is COUNT programs that ask as fast as they are
answered: half for what costs nothing, half for what the daemons of both nodes must be asked. The
password comes on standard input. Prints one JSON object: what was answered.
"""

from __future__ import annotations

import asyncio
import collections
import json
import re
import sys
import time
from typing import Any

import aiohttp
import socketio

CLIENT = re.compile(r"""client_id['"]: *['"]([0-9a-f-]{36})""")
USER = "admin"
MODULE = "demo"


async def log_in(http: aiohttp.ClientSession, url: str, password: str) -> None:
    body = {"name": USER, "password": password}
    async with http.post(f"{url}/api/v1/login", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def browser(
    http: aiohttp.ClientSession, url: str, ends_s: float, seen: collections.Counter[str]
) -> None:
    async with http.get(f"{url}/module/{MODULE}") as page:
        found = CLIENT.search(await page.text())
    assert found, "the page names no client"
    cookies = "; ".join(f"{c.key}={c.value}" for c in http.cookie_jar)
    client: Any = socketio.AsyncClient(ssl_verify=False, reconnection=False)

    async def came(event: str, *data: object) -> None:
        seen[event] += 1

    client.on("*", came)
    query = f"client_id={found[1]}&tab_id=t{id(client)}&document_id=d{id(client)}"
    query += "&next_message_id=0&implicit_handshake=true"
    await client.connect(
        f"{url}?{query}", headers={"cookie": cookies, "origin": url},
        transports=["websocket"], socketio_path="/_nicegui_ws/socket.io", wait_timeout=30,
    )  # fmt: skip
    seen["connected"] += 1
    number = 0
    while time.monotonic() < ends_s:
        await asyncio.sleep(3.0)
        number += 1000  # as a browser does: what came is not kept for it any more
        await client.emit("ack", {"client_id": found[1], "next_message_id": number})
    seen["still connected"] += int(client.connected)
    await client.disconnect()


async def program(
    http: aiohttp.ClientSession, url: str, path: str, ends_s: float, seen: collections.Counter[str]
) -> None:
    while time.monotonic() < ends_s:
        try:
            async with http.get(f"{url}/api/v1{path}") as answer:
                await answer.read()
                seen[str(answer.status)] += 1
        except aiohttp.ClientError as e:
            seen[type(e).__name__] += 1
            await asyncio.sleep(0.05)


async def run(kind: str, url: str, seconds: float, count: int, password: str) -> dict[str, int]:
    seen: collections.Counter[str] = collections.Counter()
    ends_s = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(ssl=False, limit=count)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=connector) as http:
        await log_in(http, url, password)
        if kind == "clients":
            each = [browser(http, url, ends_s, seen) for _ in range(count)]
        else:
            paths = ("/modules", f"/modules/{MODULE}/why")
            each = [program(http, url, paths[n % 2], ends_s, seen) for n in range(count)]
        for result in await asyncio.gather(*each, return_exceptions=True):
            if isinstance(result, BaseException):
                seen[f"failed: {result!r}"[:120]] += 1
    return dict(seen)


if __name__ == "__main__":
    _kind, _url, _seconds, _count = sys.argv[1:]
    _said = sys.stdin.readline().strip()
    print(json.dumps(asyncio.run(run(_kind, _url, float(_seconds), int(_count), _said))))
