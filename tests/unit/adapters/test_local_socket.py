"""The local socket: one node's answer, all nodes' answers, silence as an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters.local_socket import LocalSocket
from twofold.client import Client, DaemonAbsent
from twofold.config.places import Places
from twofold.errors import CommandRefused, MachineError, NodeUnreachable, TwofoldError


async def answer(caller: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if body["command"] == "refuse":
        raise CommandRefused("not now", "Wait.")
    return {"said": body["command"], "by": body.get("on_behalf_of", caller)}


class OtherNodes:
    """A control channel on which b answers and c is silent."""

    async def request(
        self, node: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        if node == "c":
            raise NodeUnreachable("c is silent", "Start it.")
        return await answer("a", body)

    async def serve(
        self, handle: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    ) -> None:
        raise NotImplementedError


def places_in(root: Path) -> Places:
    return Places(root / "etc", root / "var", root / "run")


async def with_server(root: Path, ask: Callable[[Client], Any], configured: bool = True) -> Any:
    at = places_in(root)
    server = LocalSocket(at.socket, answer)
    if configured:
        homes = {"files": ("a", "b")}
        every = ("a", "b", "c")
        server.use_cluster(lambda: ("a", every), OtherNodes(), lambda m: homes.get(m, every))
    task = asyncio.create_task(server.serve())
    await asyncio.sleep(0.05)
    assert at.socket.stat().st_mode & 0o007 == 0, "nobody else may talk to the daemon"
    try:
        with Client(at, timeout_s=5.0) as client:
            return await asyncio.to_thread(ask, client)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_this_node_answers(tmp_path: Path) -> None:
    reply = await with_server(tmp_path, lambda c: (c.ask("x"), c.ask("y")))
    assert [r["said"] for r in reply] == ["x", "y"]


async def test_all_nodes_answer_in_order_and_silence_is_an_answer(tmp_path: Path) -> None:
    a, b, c = await with_server(tmp_path, lambda client: client.ask_nodes(["*"], "x"))
    assert (a["node"], a["reachable"], a["said"]) == ("a", True, "x")
    assert (b["node"], b["by"]) == ("b", a["by"])
    assert (c["node"], c["reachable"], c["error"]["text"]) == ("c", False, "c is silent")


async def test_of_a_module_only_its_own_nodes_are_asked(tmp_path: Path) -> None:
    def asked(nodes: list[str], module: str) -> Callable[[Client], list[str]]:
        return lambda c: [x["node"] for x in c.ask_nodes(nodes, "x", module=module)]

    assert await with_server(tmp_path, asked(["*"], "files")) == ["a", "b"]
    assert await with_server(tmp_path, asked(["*"], "other")) == ["a", "b", "c"]
    assert await with_server(tmp_path, asked(["c"], "files")) == ["c"], "whoever names it means it"


async def test_a_refusal_is_the_nodes_answer(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="not now"):
        await with_server(tmp_path, lambda c: c.ask("refuse"))
    answers = await with_server(tmp_path, lambda c: c.ask_nodes(["b", "a"], "refuse"))
    assert [(x["node"], x["error"]["mend"]) for x in answers] == [("a", "Wait."), ("b", "Wait.")]


async def test_an_unknown_node_and_no_cluster_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="no node 'z'"):
        await with_server(tmp_path, lambda c: c.ask_nodes(["z"], "x"))
    with pytest.raises(MachineError, match="not part of a cluster yet"):
        await with_server(tmp_path, lambda c: c.ask_nodes(["*"], "x"), configured=False)


async def test_commands_between_nodes_do_not_pass(tmp_path: Path) -> None:
    targets: list[dict[str, Any]] = [{}, {"nodes": ["b"]}]
    for nodes in targets:
        with pytest.raises(CommandRefused, match="between nodes"):
            await with_server(tmp_path, lambda c, n=nodes: c.ask("peer_write", **n))
    forged = await with_server(tmp_path, lambda c: c.ask("x", on_behalf_of="somebody"))
    assert forged["by"] != "somebody"


def test_without_a_daemon_the_next_step_is_said(tmp_path: Path) -> None:
    at = places_in(tmp_path)
    with pytest.raises(DaemonAbsent, match="twofold cluster init"):
        Client(at).ask("state")
    at.etc.mkdir()
    (at.etc / "cluster.toml").touch()
    with pytest.raises(DaemonAbsent, match="systemctl start twofoldd"):
        Client(at).ask("state")


async def test_a_second_daemon_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    at = places_in(tmp_path)

    async def second() -> None:
        await LocalSocket(at.socket, answer).serve()

    def try_second(client: Client) -> str:
        with pytest.raises(TwofoldError) as caught:
            asyncio.run(second())
        return str(caught.value)

    assert "another twofoldd" in await with_server(tmp_path, try_second)
    at.socket.touch()
    assert (await with_server(tmp_path, lambda c: c.ask("x")))["said"] == "x"
