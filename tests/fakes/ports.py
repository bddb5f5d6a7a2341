"""The outside of one module, in memory: an engine model, an application, an address.

What is done is written into `story`; `fails` makes the next call of that name fail once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.fakes.engine_model import EngineModel, relation
from twofold.errors import StartFailed
from twofold.ports import HeldAddress, ServiceStatus, Verdict
from twofold.wire.heartbeat import generation_fields, generation_from


class Engine:
    def __init__(self, model: EngineModel, story: list[str]) -> None:
        self.model, self.story = model, story
        self.told: Callable[[Mapping[str, Any] | None], None] = lambda _s: None

    def status(self) -> dict[str, Any]:
        m = self.model
        return {
            "role": m.role,
            "epoch": m.disk.epoch,
            "alone": m.disk.sole,
            "link": "up" if m.linked else "down",
            "link_silent_ms": 0,
            "up_to_date": m.up_to_date,
            "peer_up_to_date": m.peer_up_to_date,
            "generation": generation_fields(m.disk),
        }

    def on_status(self, told: Callable[[Mapping[str, Any] | None], None]) -> None:
        self.told = told

    async def find(self) -> Mapping[str, Any] | None:
        return self.status() if self.model.running else None

    async def ensure_running(self) -> None:
        self.story.append("engine starts")
        self.model.start()

    async def stop(self, abort: bool) -> None:
        self.story.append("engine stops")
        self.model.stop(abort)
        self.told(None)

    async def command(self, name: str, **fields: Any) -> Mapping[str, Any]:
        if name == "status":
            return {"status": self.status()}
        if name == "reconcile":
            return {"relation": relation(self.model.disk, generation_from(fields["theirs"]))}
        self.story.append(f"engine: {name}")
        getattr(self.model, name)(**fields)
        return {}


class Application:
    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.runs = False
        self.starts_fail = 0
        self.scripts: list[tuple[str, ...]] = []
        self.told: Callable[[str, str], None] = lambda _s, _w: None

    async def start(self, side: str) -> None:
        self.story.append(f"start {side}")
        if side == "primary" and self.starts_fail:
            self.starts_fail -= 1
            raise StartFailed("service app ended with code 1")
        self.runs = self.runs or side == "primary"

    async def stop(self, side: str) -> None:
        self.story.append(f"stop {side}")
        self.runs = self.runs and side != "primary"

    async def adopt(self) -> bool:
        return self.runs

    async def status(self) -> Sequence[ServiceStatus]:
        return [ServiceStatus("app", self.runs, None, "")]

    async def script(self, name: str, *arguments: str) -> None:
        self.scripts.append((name, *arguments))

    def on_exit(self, told: Callable[[str, str], None]) -> None:
        self.told = told


class Address:
    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.is_held = False

    async def hold(self) -> None:
        self.story.append("hold")
        self.is_held = True

    async def release(self) -> None:
        self.story.append("release")
        self.is_held = False

    async def announce(self) -> None:
        self.story.append("announce")

    async def held(self) -> Sequence[HeldAddress]:
        return [HeldAddress("10.0.0.100/24", "lan", self.is_held)]

    async def look(self, ip: str | None) -> Verdict:
        return Verdict(self.is_held, "it is here" if self.is_held else "it is not here")


class Probe:
    """A checker that answers what it is told."""

    def __init__(self, name: str, answers: list[bool]) -> None:
        self.name, self.answers = name, answers

    async def probe(self) -> Verdict:
        ok = self.answers.pop(0) if self.answers else True
        return Verdict(ok, "fine" if ok else "no connection")
