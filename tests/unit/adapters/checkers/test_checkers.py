"""Probes answer with a verdict and a sentence, in their time; a bad target never raises."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fakes.ports import Address
from tests.unit.adapters.checkers.probing import checker_of, probe
from tests.unit.adapters.services.stand import Stand, free_port, service
from twofold.adapters.checkers import Target, make_checker
from twofold.adapters.checkers.interface import look
from twofold.config.schema_checkers import Checker
from twofold.errors import NodeUnreachable
from twofold.ports import Verdict

pytestmark = pytest.mark.timeout(20)


async def test_tcp_connects(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        verdict = await probe(tmp_path, kind="tcp", address=address)
    assert verdict.ok and verdict.text.startswith(f"connected to {address} in ")


async def test_tcp_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (await probe(tmp_path, kind="tcp", address=f"localhost:{port}")).ok


async def test_a_name_that_is_none_is_a_verdict(tmp_path: Path) -> None:
    verdict = await probe(tmp_path, kind="tcp", address="no-such-host.invalid:80")
    assert not verdict.ok and "no-such-host.invalid" in verdict.text


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
    target = Target(app, Address([]))
    keys = {"name": "c", "kind": "process", "service": "app"}
    checker = make_checker(Checker.model_validate(keys), target)
    assert await checker.probe() == Verdict(False, "app: not started")
    await app.start("primary")
    verdict = await checker.probe()
    assert verdict.ok and verdict.text.endswith("runs")
    await app.stop("primary")
    assert not (await checker.probe()).ok
    stranger = make_checker(Checker.model_validate({**keys, "service": "db"}), target)
    assert await stranger.probe() == Verdict(False, "the module has no service db")
    await app.close()


@pytest.mark.root
async def test_ping(tmp_path: Path) -> None:
    verdict = await probe(tmp_path, kind="ping", host="127.0.0.1")
    assert verdict.ok and verdict.text.startswith("127.0.0.1 answered in ")
    silent = await probe(tmp_path, kind="ping", host="203.0.113.1", timeout="200ms")
    assert silent == Verdict(False, "203.0.113.1 did not answer an echo within 0.2 s")


def interface(root: Path, state: str, carrier: str | None = None) -> Verdict:
    (root / "eth0").mkdir(parents=True, exist_ok=True)
    (root / "eth0" / "operstate").write_text(state + "\n")
    if carrier is not None:
        (root / "eth0" / "carrier").write_text(carrier + "\n")
    return look("eth0", root)


def test_interface(tmp_path: Path) -> None:
    assert interface(tmp_path, "up") == Verdict(True, "eth0 has its link")
    assert interface(tmp_path, "down") == Verdict(False, "eth0 is down: no cable, or switched off")
    assert "interface below" in interface(tmp_path, "lowerlayerdown").text
    assert not interface(tmp_path, "unknown").ok  # no carrier file: switched off
    assert interface(tmp_path, "unknown", "1").ok
    assert look("eth7", tmp_path) == Verdict(False, "there is no interface eth7 on this node now")


async def test_interface_asks_this_machine(tmp_path: Path) -> None:
    assert (await probe(tmp_path, kind="interface", interface="lo")).ok


async def module_probe(tmp_path: Path, states: Mapping[str, str] | None, **keys: str) -> Verdict:
    async def told(module: str, where: str, bound_s: float) -> Mapping[str, str]:
        assert (module, where) == ("db", keys.get("node", "here"))
        if states is None:
            raise NodeUnreachable("node b does not answer")
        return states

    application = Stand(tmp_path).application()
    target = Target(application, Address([]), module_states=told)
    return await checker_of(tmp_path, target, kind="module", module="db", **keys).probe()


@pytest.mark.parametrize(
    ("states", "ok", "text"),
    [
        ({"a": "PRIM"}, True, "module db is PRIM on node a"),
        ({"a": "UP"}, True, "module db is UP on node a"),
        ({"a": "SECOND"}, False, "module db does not serve on this node: SECOND on a"),
        ({"a": "STOP"}, False, "module db does not serve on this node: STOP on a"),
    ],
)
async def test_module_here(tmp_path: Path, states: dict[str, str], ok: bool, text: str) -> None:
    assert await module_probe(tmp_path, states) == Verdict(ok, text)


async def test_module_anywhere(tmp_path: Path) -> None:
    verdict = await module_probe(tmp_path, {"a": "SECOND", "b": "ALONE"}, node="any")
    assert verdict == Verdict(True, "module db is ALONE on node b")


async def test_module_on_a_node_that_is_silent(tmp_path: Path) -> None:
    verdict = await module_probe(tmp_path, {}, node="b")
    assert verdict == Verdict(False, "module db does not serve on b: no answer")


async def test_module_that_cannot_be_asked(tmp_path: Path) -> None:
    verdict = await module_probe(tmp_path, None)
    assert verdict == Verdict(False, "module db: node b does not answer")
