"""`/dev/watchdog`: a timer outside the daemon that resets the machine when it is not fed.

Armed while this node serves and fed from the daemon's own loop: a node whose daemon hangs, and so
could not notice that its epoch is over, is reset. An orderly end writes the magic `V`, after which
the kernel lets the timer go; a daemon that was killed must be back before the time is over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

from twofold.errors import MachineError

TIMEOUT_S = 15
FEED_EVERY_S = 1.0
_SET_TIMEOUT = 0xC0045706  # WDIOC_SETTIMEOUT


class WatchdogDevice:
    def __init__(self, path: str, timeout_s: int = TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._device: int | None = None

    @property
    def armed(self) -> bool:
        return self._device is not None

    def feed(self) -> None:
        """Arms it the first time. `MachineError`: there is none, or another program has it."""
        try:
            if self._device is None:
                self._device = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
                self._set_timeout(self._device)
            os.write(self._device, b"1")
        except OSError as e:
            raise MachineError(
                f"the watchdog {self.path} cannot be armed: {e.strerror}",
                "Load a driver (modprobe softdog), or see who has it; systemd's RuntimeWatchdogSec "
                "takes it too. Or remove `watchdog` from node.toml.",
            ) from None

    def disarm(self) -> None:
        if self._device is None:
            return
        try:
            os.write(self._device, b"V")
        finally:
            os.close(self._device)
            self._device = None

    def _set_timeout(self, device: int) -> None:
        with contextlib.suppress(OSError):  # a driver with a fixed time: its own counts
            fcntl.ioctl(device, _SET_TIMEOUT, struct.pack("i", self._timeout_s))
