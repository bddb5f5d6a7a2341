"""The rescues of one module, read and taken apart by a process of their own.

A rescue may hold a lot of data. The daemon's memory is locked and its loop must not wait, so the
work is done by `twofold.rescue_process`, which can be given up; the format is known to Rust alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twofold.errors import CommandRefused, MachineError

LOOK_TIMEOUT_S = 20.0
WORK_TIMEOUT_S = 3600.0


class Rescues:
    """Implements `twofold.ports.RescuePort`."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    async def list(self) -> Sequence[Mapping[str, Any]]:
        return await self._run(LOOK_TIMEOUT_S, "list")

    async def show(self, rescue: str, limit: int) -> Mapping[str, Any]:
        return await self._run(LOOK_TIMEOUT_S, "show", rescue, str(limit))

    async def extract(self, rescue: str, into: str, with_current: bool) -> Mapping[str, Any]:
        words = ("with-current",) if with_current else ()
        return await self._run(WORK_TIMEOUT_S, "extract", rescue, into, *words)

    async def delete(self, rescue: str) -> Mapping[str, Any]:
        return await self._run(WORK_TIMEOUT_S, "delete", rescue)

    async def _run(self, timeout_s: float, command: str, *words: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "twofold.rescue_process",
            command,
            str(self._state_dir),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate()
        except TimeoutError:
            raise MachineError(f"`rescue {command}` did not end within {timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        text = err.decode("utf-8", "replace").strip()
        match process.returncode:
            case 0:
                return json.loads(out)
            case 2:
                raise CommandRefused(text, "See: twofold mirror rescue list")
            case _:
                raise MachineError(f"`rescue {command}` failed: {text.splitlines()[-1:]}")
