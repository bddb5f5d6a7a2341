"""A port of this machine that leads to a node's console; the lab's network is apart from it.

A connection is opened inside the node's network namespace by a helper process of that host, whose
socket is handed over (SCM_RIGHTS); the bytes then pass here. Only 127.0.0.1 listens.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
import threading

from twofold.errors import MachineError

from .lab import Lab

CONSOLE_PORT = 9010
CONNECTIONS_MAX = 64
CHUNK_BYTES = 65536
_OPENER = """
import array, socket, sys
link = socket.socket(fileno=0)
while link.recv(1):
    try:
        made = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 3.0)
    except OSError:
        link.sendall(b"n")
        continue
    socket.send_fds(link, [b"y"], [made.fileno()])
    made.close()
"""


def forward(lab: Lab, node: str, port: int) -> None:
    """Until Ctrl-C."""
    here, there = socket.socketpair()
    argv = lab.argv_in(node, [sys.executable, "-c", _OPENER, str(CONSOLE_PORT)])
    opener = subprocess.Popen(argv, stdin=there.fileno(), env=lab.environment(node))
    there.close()
    slots = threading.Semaphore(CONNECTIONS_MAX)
    try:
        with _listening(port) as listener:
            while True:
                client, _ = listener.accept()
                server = _opened(here)
                if server is None or not slots.acquire(blocking=False):
                    client.close()
                    continue
                threading.Thread(target=_pass, args=(client, server, slots), daemon=True).start()
    except KeyboardInterrupt:
        pass
    finally:
        here.close()
        opener.kill()
        opener.wait()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as e:
        raise MachineError(
            f"port {port} of this machine cannot be used: {e.strerror}", "Choose another: --port"
        ) from None


def _opened(link: socket.socket) -> socket.socket | None:
    """A connection to the console, made in the node; None while it does not listen."""
    try:
        link.sendall(b"?")
        word, descriptors, _, _ = socket.recv_fds(link, 1, 1)
    except OSError:
        raise MachineError("the node is off", "Start it: twofold lab start") from None
    if not word:
        raise MachineError("the node is off", "Start it: twofold lab start")
    return socket.socket(fileno=descriptors[0]) if descriptors else None


def _pass(one: socket.socket, other: socket.socket, slots: threading.Semaphore) -> None:
    """Bytes both ways until either side ends."""
    other.settimeout(None)
    ends = {one: other, other: one}
    with contextlib.suppress(OSError), one, other, selectors.DefaultSelector() as selector:
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                source = next(e for e in ends if e.fileno() == key.fd)
                data = source.recv(CHUNK_BYTES)
                if not data:
                    slots.release()
                    return
                ends[source].sendall(data)
    slots.release()
