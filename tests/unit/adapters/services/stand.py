"""One module's application in a temporary directory, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.adapters.services import Application
from twofold.adapters.services.census import read_stat
from twofold.config.schema import Service


def service(name: str = "app", **keys: Any) -> Service:
    return Service.model_validate({"name": name, "stop_timeout": "2s", **keys})


def shell(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


class Stand:
    """Makes applications on the same run directory, as a restarted daemon would."""

    def __init__(self, directory: Path) -> None:
        self.run = directory / "run"
        self.scripts = directory / "scripts"
        self.scripts.mkdir(exist_ok=True)
        self.told: list[tuple[str, str]] = []
        self.state = "PRIM"

    def application(self, *services: Service) -> Application:
        application = Application(
            "files",
            "a",
            services,
            run=self.run,
            scripts=self.scripts,
            facts=lambda: {"TWOFOLD_STATE": self.state},
        )
        application.on_exit(lambda name, why: self.told.append((name, why)))
        return application

    def script(self, name: str, text: str) -> Path:
        path = self.scripts / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    def has_log(self, name: str) -> bool:
        return (self.run / "services" / f"{name}.log").exists()

    def log(self, name: str) -> str:
        return (self.run / "services" / f"{name}.log").read_text()


def alive(pid: int | None) -> bool:
    stat = read_stat(pid) if pid is not None else None
    return stat is not None and stat.state not in ("Z", "X")


async def until(true: Callable[[], bool], bound_s: float = 5.0) -> None:
    end_s = time.monotonic() + bound_s
    while not true():
        assert time.monotonic() < end_s, f"not so within {bound_s} s"
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(pid: int) -> None:
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
