"""Hosts for tests: network namespaces on one bridge, each with a thread and an event loop inside.

A thread keeps the namespace it entered, and so does every thread that it starts; a socket stays in
the namespace it was made in. So code under test runs inside a "host" in this very process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_BOUND_S = 30


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BOUND_S)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Host:
    """One namespace with its loop."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name, self.namespace = name, namespace
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(_BOUND_S)

    def _live(self, ready: threading.Event) -> None:
        entrance = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.setns(entrance, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(entrance)
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(ready.set)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine inside, wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(_BOUND_S)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function inside."""

        async def body() -> T:
            return await asyncio.to_thread(function)

        return self.do(body())

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.namespace, *words)

    def mac(self) -> str:
        words = self.ip("link", "show", "eth0").split()
        return words[words.index("link/ether") + 1]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_BOUND_S)


@contextlib.contextmanager
def hosts(**addresses: tuple[str, ...]) -> Generator[dict[str, Host]]:
    """Hosts of those names on one link, with these addresses on eth0; all gone at the end."""
    mark = f"tfh-{secrets.token_hex(3)}"
    switch = f"{mark}-sw"
    made: list[str] = []
    running: dict[str, Host] = {}
    try:
        run("ip", "netns", "add", switch)
        made.append(switch)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        for name, own in addresses.items():
            namespace = f"{mark}-{name}"
            run("ip", "netns", "add", namespace)
            made.append(namespace)
            peer = ("peer", "name", "eth0", "netns", namespace)
            run("ip", "-n", switch, "link", "add", f"p-{name}", "type", "veth", *peer)
            run("ip", "-n", switch, "link", "set", f"p-{name}", "master", "br0", "up")
            for address in own:
                extra = ("nodad",) if ":" in address else ()
                run("ip", "-n", namespace, "addr", "add", address, "dev", "eth0", *extra)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", "eth0", "up")
            running[name] = Host(name, namespace)
        yield running
    finally:
        for host in running.values():
            host.close()
        for namespace in reversed(made):
            run("ip", "netns", "del", namespace)
