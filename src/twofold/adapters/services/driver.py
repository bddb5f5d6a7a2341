"""What every way to run a service offers: `supervised`, `scripts`, `systemd_unit` implement it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twofold.ports import ServiceStatus

# told(service, why): it ended and nobody had asked it to.
Told = Callable[[str, str], None]


class Driver(Protocol):
    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Idempotent. Raises `StartFailed`."""
        ...

    async def stop(self) -> None:
        """Idempotent; works on what an earlier daemon started. Raises `StopFailed`."""
        ...

    async def adopt(self) -> bool:
        """Whether it runs, found after a restart of the daemon; then it is watched again."""
        ...

    async def status(self) -> ServiceStatus: ...

    def log_names(self) -> tuple[str, ...]:
        """Its output files, which are kept bounded."""
        ...

    def forget(self) -> None:
        """Stop watching; nothing is stopped."""
        ...
