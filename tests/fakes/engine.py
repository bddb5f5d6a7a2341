"""A fake `twofold-mirror`: the control socket and the flow of the real one, without files or FUSE.

Run as `python -m tests.fakes.engine --config mirror.json`. Two of them find each other over the
addresses in their configuration (plain TCP) and behave as docs/internals/interfaces.md says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.engine_model import EngineModel, relation
from twofold.errors import MirrorRefused
from twofold.machine.model import Generation
from twofold.wire.heartbeat import generation_fields, generation_from

PING_S = 0.1
COPY_S = 0.4


class FakeEngine:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.state = Path(config["state_dir"]) / "generation.fake"
        self.model = EngineModel(config["node"])
        if self.state.exists():
            self.model.disk = generation_from(json.loads(self.state.read_text()))
        self.model.start()
        self.subscribers: set[asyncio.StreamWriter] = set()
        self.flow: asyncio.StreamWriter | None = None
        self.heard_at = time.monotonic()
        self.said = ""
        self.ended = asyncio.Event()

    def save(self) -> None:
        self.state.parent.mkdir(parents=True, exist_ok=True)
        aside = self.state.with_suffix(".new")
        aside.write_text(json.dumps(generation_fields(self.model.disk)))
        aside.replace(self.state)

    def status(self) -> dict[str, Any]:
        m = self.model
        return {
            "module": self.config["module"],
            "node": self.config["node"],
            "pid": os.getpid(),
            "version": "fake",
            "role": m.role,
            "epoch": m.disk.epoch,
            "frozen": m.role == "primary" and not m.linked and not m.disk.sole,
            "freeze_reason": None,
            "alone": m.role == "primary" and m.disk.sole and not m.linked,
            "link": "up" if m.linked else "down",
            "link_silent_ms": int((time.monotonic() - self.heard_at) * 1000),
            "refused": None,
            "peer_up_to_date": m.peer_up_to_date,
            "up_to_date": m.up_to_date,
            "resync": None,
            "generation": generation_fields(m.disk),
            "failed": None,
            "counters": {},
        }

    def tell(self) -> None:
        """Durable first, then told to whoever listens."""
        status = self.status()
        compared = json.dumps({k: v for k, v in status.items() if k != "link_silent_ms"})
        if compared == self.said:
            return
        self.said = compared
        self.save()
        for writer in list(self.subscribers):
            writer.write(json.dumps({"event": "status", "status": status}).encode() + b"\n")

    # --- control socket -------------------------------------------------------------------------

    async def on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                body = json.loads(line)
                reply: dict[str, Any] = {"id": body["id"], "ok": True}
                try:
                    reply |= self.answer(body, writer)
                except MirrorRefused as e:
                    reply = {"id": body["id"], "ok": False}
                    reply["error"] = {"code": e.reason, "text": str(e)}
                self.tell()
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        self.subscribers.discard(writer)

    def answer(self, body: Mapping[str, Any], writer: asyncio.StreamWriter) -> dict[str, Any]:
        m = self.model
        match body["command"]:
            case "status":
                return {"status": self.status()}
            case "subscribe":
                self.subscribers.add(writer)
                writer.write(
                    json.dumps({"event": "status", "status": self.status()}).encode() + b"\n"
                )
            case "become_primary":
                m.become_primary(body["epoch"], body["alone"], body["first"], body["force"])
                self.hang_up()
            case "become_secondary":
                m.become_secondary(body["epoch"], body["follow"])
                self.hang_up()
            case "continue_alone":
                m.continue_alone(body["epoch"])
                self.hang_up()
            case "outdate":
                m.outdate(body["epoch"], body["alone"])
            case "reconcile":
                return {"relation": relation(m.disk, generation_from(body["theirs"]))}
            case "stop":
                m.stop(body["abort"])
                self.hang_up()
                asyncio.get_running_loop().call_later(0.05, self.ended.set)
            case other:
                raise MirrorRefused("unknown", f"no command {other}")
        return {}

    # --- the flow -------------------------------------------------------------------------------

    def hang_up(self) -> None:
        if self.flow is not None:
            self.flow.close()
            self.flow = None

    async def on_dialled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The other end is secondary and looks for its primary."""
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            theirs = generation_from(json.loads(await reader.readline()))
            if self.model.role != "primary":
                writer.close()
                return
            self.hang_up()
            self.flow = writer
            m = self.model
            m.linked, self.heard_at = True, time.monotonic()
            equal = theirs.current == m.disk.current and not theirs.sync_target
            self.say(writer, {"resync": not equal})
            self.tell()
            if not equal:
                await asyncio.sleep(COPY_S)
            if self.flow is writer and m.role == "primary":
                m.peer_up_to_date = True
                m.write(sole=False)
                self.say(writer, {"copied": generation_fields(m.disk)})
                self.tell()
                await self.converse(reader, writer)

    async def dial(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            if not self.model.follows or self.flow is not None:
                continue
            for address in self.config["peer_addresses"]:
                host, _, port = address.rpartition(":")
                with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                    reader, writer = await asyncio.open_connection(host, int(port))
                    self.say(writer, generation_fields(self.model.disk))
                    await self.follow(reader, writer)

    async def follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        m = self.model
        line = await reader.readline()
        if not line:
            return
        self.flow, self.heard_at = writer, time.monotonic()
        m.linked = True
        if json.loads(line)["resync"]:
            m.write(sync_target=True)
        self.tell()
        copied = json.loads(await reader.readline() or b"{}").get("copied")
        if copied is not None and m.role == "secondary" and self.flow is writer:
            theirs = generation_from(copied)
            m.disk = Generation(
                current=theirs.current,
                base=theirs.current,
                history=theirs.history,
                role="secondary",
                clean=False,
                epoch=max(theirs.epoch, m.disk.epoch),
            )
            self.tell()
        await self.converse(reader, writer)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pings both ways until the other end is gone or silent."""
        timeout_s = self.config["peer_timeout_ms"] / 1000
        try:
            while self.flow is writer:
                self.say(writer, {"ping": 1})
                try:
                    async with asyncio.timeout(PING_S * 2):
                        line = await reader.readline()
                except TimeoutError:
                    line = b" "
                if not line:
                    break
                if line != b" ":
                    self.heard_at = time.monotonic()
                elif time.monotonic() - self.heard_at > timeout_s:
                    break
                await asyncio.sleep(PING_S)
        finally:
            writer.close()
            if self.flow is writer or self.flow is None:
                self.flow = None
                self.model.link_down()
                self.tell()

    def say(self, writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")


async def run(config: Mapping[str, Any]) -> None:
    engine = FakeEngine(config)
    run_dir = Path(config["run_dir"])
    sock = run_dir / "mirror.sock"
    sock.unlink(missing_ok=True)
    servers = [await asyncio.start_unix_server(engine.on_client, sock)]
    for address in config["listen"]:
        host, _, port = address.rpartition(":")
        servers.append(await asyncio.start_server(engine.on_dialled, host, int(port)))
    dialling = asyncio.create_task(engine.dial())
    await engine.ended.wait()
    dialling.cancel()
    sock.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    asyncio.run(run(json.loads(Path(parser.parse_args().config).read_text())))
