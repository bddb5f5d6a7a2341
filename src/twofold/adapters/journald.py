"""The system's journal, by its native protocol: one datagram, fields of name and value.

Nothing is needed but the socket; where it is not (a container, another init), nothing is written.
Never waits: what the journal cannot take at once is dropped, the daemon's own journal has it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
VALUE_BYTES_MAX = 8192


class Journald:
    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, fields: Mapping[str, str]) -> bool:
        """True when the system's journal has it."""
        try:
            if self._socket is None:
                self._socket = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
                )
                self._socket.setblocking(False)
            self._socket.sendto(encoded(fields), str(self._path))
            return True
        except OSError:
            return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def takes_our_stderr() -> bool:
    """Standard error goes to the system's journal already (a unit of systemd)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def encoded(fields: Mapping[str, str]) -> bytes:
    """A value with a line end is sent with its length, as the protocol has it."""
    out = bytearray()
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")[:VALUE_BYTES_MAX]
        if b"\n" in data:
            out += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
        else:
            out += name.encode() + b"=" + data + b"\n"
    return bytes(out)
