"""Probes answer with a verdict and a sentence, in their time; a bad target never raises."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.adapters.services.stand import Stand, free_port, service
from twofold.adapters.checkers import make_checker
from twofold.config.schema import Checker
from twofold.ports import Verdict

pytestmark = pytest.mark.timeout(20)


async def probe(tmp_path: Path, **keys: Any) -> Verdict:
    app = Stand(tmp_path).application(service(command=["/bin/sleep", "60"]))
    checker = make_checker(Checker.model_validate({"name": "c", **keys}), app)
    assert checker.name == "c"
    return await checker.probe()


async def test_tcp_connects(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        verdict = await probe(tmp_path, kind="tcp", address=address)
    assert verdict.ok and verdict.text.startswith(f"connected to {address} in ")


async def test_tcp_refused(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    verdict = await probe(tmp_path, kind="tcp", address=address)
    assert not verdict.ok and address in verdict.text


async def test_tcp_silent_is_bounded(tmp_path: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # fill the queue: the kernel drops further requests
            one.setblocking(False)
            one.connect_ex(address)
        start_s = time.monotonic()
        verdict = await probe(
            tmp_path, kind="tcp", address=f"127.0.0.1:{address[1]}", timeout="300ms"
        )
        assert time.monotonic() - start_s < 2
        for one in waiting:
            one.close()
    assert verdict == Verdict(False, f"no answer from 127.0.0.1:{address[1]} within 0.3 s")


async def test_process(tmp_path: Path) -> None:
    app = Stand(tmp_path).application(service(command=["/bin/sleep", "60"]))
    keys = {"name": "c", "kind": "process", "service": "app"}
    checker = make_checker(Checker.model_validate(keys), app)
    assert await checker.probe() == Verdict(False, "app: not started")
    await app.start("primary")
    verdict = await checker.probe()
    assert verdict.ok and verdict.text.endswith("runs")
    await app.stop("primary")
    assert not (await checker.probe()).ok
    stranger = make_checker(Checker.model_validate({**keys, "service": "db"}), app)
    assert await stranger.probe() == Verdict(False, "the module has no service db")
    await app.close()
