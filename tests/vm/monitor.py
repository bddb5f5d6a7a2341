"""qemu's own monitor, by QMP on a socket: pause a machine, keep all of it (memory, disk) under a
name in its disk's file, let it go on.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

BOUND_S = 180.0


class MonitorFailed(AssertionError):
    """qemu refused a command, or did not answer."""


class Monitor:
    """One connection; qemu answers one at a time."""

    def __init__(self, path: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.settimeout(BOUND_S)
        try:
            self._link.connect(str(path))
        except OSError as error:
            raise MonitorFailed(f"{path}: {error}") from None
        self._answers = self._link.makefile("rb")
        self._answers.readline()  # the greeting
        self._do("qmp_capabilities")

    def close(self) -> None:
        """qemu listens to one at a time."""
        self._answers.close()
        self._link.close()

    def pause(self) -> None:
        self._do("stop")

    def go_on(self) -> None:
        self._do("cont")

    def keep(self, name: str) -> None:
        """Memory and disk of a paused machine, in the file of its disk; `-loadvm` has them back."""
        said = self._do("human-monitor-command", {"command-line": f"savevm {name}"})
        if said:
            raise MonitorFailed(f"savevm: {said}")

    def _do(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        line: dict[str, Any] = {"execute": command}
        if arguments:
            line["arguments"] = arguments
        self._link.sendall(json.dumps(line).encode() + b"\n")
        while True:
            text = self._answers.readline()
            if not text:
                raise MonitorFailed(f"{command}: qemu ended the connection")
            answer: dict[str, Any] = json.loads(text)
            if "error" in answer:
                raise MonitorFailed(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
