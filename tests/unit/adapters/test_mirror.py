"""The engine process: started, found again, asked, its death noticed, its last words told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters.mirror import MirrorProcess
from twofold.errors import MirrorFailed, MirrorRefused

ROOT = Path(__file__).parents[3]
FAKE = (
    "env",
    f"PYTHONPATH={ROOT / 'src'}:{ROOT}",
    sys.executable,
    "-m",
    "tests.fakes.engine",
)


def config(root: Path) -> Mapping[str, Any]:
    return {
        "module": "files",
        "node": "a",
        "peer": "b",
        "state_dir": str(root / "var"),
        "run_dir": str(root / "run"),
        "listen": [],
        "peer_addresses": [],
        "peer_timeout_ms": 1000,
    }


def engine(root: Path, *command: str) -> MirrorProcess:
    return MirrorProcess(command or FAKE, root / "run", lambda: config(root))


async def test_started_asked_found_again_and_stopped(tmp_path: Path) -> None:
    first = engine(tmp_path)
    told: list[Mapping[str, Any] | None] = []
    first.on_status(told.append)
    assert await first.find() is None
    await first.ensure_running()
    with pytest.raises(MirrorRefused) as refused:
        await first.command("become_primary", epoch=1, alone=True, first=False, force=False)
    assert refused.value.reason == "no_data"
    await first.command("become_primary", epoch=1, alone=True, first=True, force=False)
    await first.close()  # the daemon goes, the engine stays

    second = engine(tmp_path)
    second.on_status(told.append)
    status = await second.find()
    assert status is not None and status["role"] == "primary"
    await second.stop(abort=False)
    assert await second.find() is None
    assert told[-1] is None
    await second.stop(abort=True)  # it is gone already: no error


async def test_its_death_is_noticed(tmp_path: Path) -> None:
    only = engine(tmp_path)
    gone = asyncio.Event()
    only.on_status(lambda status: gone.set() if status is None else None)
    await only.ensure_running()
    status = (await only.command("status"))["status"]
    os.kill(status["pid"], signal.SIGKILL)
    async with asyncio.timeout(5):
        await gone.wait()
    with pytest.raises(MirrorFailed, match="not running"):
        await only.command("status")


async def test_its_last_words_are_told(tmp_path: Path) -> None:
    words = "The directory /srv/files does not exist."
    broken = engine(tmp_path, "/bin/sh", "-c", f"echo '{words}' >&2; exit 2")
    with pytest.raises(MirrorFailed, match=r"/srv/files does not exist"):
        await broken.ensure_running()


async def test_one_that_hangs_is_given_up_early_and_ended_by_force(tmp_path: Path) -> None:
    hung = engine(tmp_path)
    await hung.ensure_running()
    pid = (await hung.command("status"))["status"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        begun_s = time.monotonic()
        with pytest.raises(MirrorFailed, match="hangs"):
            await hung.command("become_secondary", epoch=1, follow=True)
        assert time.monotonic() - begun_s < 30 - 10
        await hung.stop(abort=True)
        assert await hung.find() is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
