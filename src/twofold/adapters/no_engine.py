"""In the place of the replication engine, for modules that replicate nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twofold.errors import MirrorFailed

_TEXT = "this module has no replicated directories, so it has no replication engine"


class NoEngine:
    """There is none and there never will be; whoever asks it for something is told so."""

    async def find(self) -> Mapping[str, Any] | None:
        return None

    async def ensure_running(self) -> None:
        raise MirrorFailed(_TEXT)

    async def stop(self, abort: bool) -> None:
        """Nothing runs."""

    async def command(self, name: str, **fields: Any) -> Mapping[str, Any]:
        raise MirrorFailed(_TEXT)

    def on_status(self, told: Callable[[Mapping[str, Any] | None], None]) -> None:
        """Nothing is ever told."""

    async def close(self) -> None:
        """Nothing is listened to."""
