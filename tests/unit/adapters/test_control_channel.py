"""Two channels on loopback with real certificates: who is heard, who is refused, and in time."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters import pki
from twofold.adapters.control_channel import (
    ControlChannel,
    client_context,
    listening_socket,
    read_line,
)
from twofold.config.load import NodeConfig, parse_cluster
from twofold.errors import CommandRefused, MachineError, NodeUnreachable, PeerRefused
from twofold.wire import control, lines

ID = "00000000-0000-4000-8000-000000000000"
PORT = 29011
ADDRESSES = {"a": "127.0.29.1", "b": "127.0.29.2", "c": "127.0.29.3"}


def cluster_of(*names: str) -> str:
    text = f'[cluster]\nid = "{ID}"\n[[network]]\nname = "lan"\n'
    for name in names:
        text += f'[[node]]\nname = "{name}"\naddresses = {{ lan = "{ADDRESSES[name]}" }}\n'
    return text


def two_networks_of(name: str) -> str:
    """That node alone, with the address of c in its second network."""
    text = f'[cluster]\nid = "{ID}"\n[[network]]\nname = "lan"\n[[network]]\nname = "flow"\n'
    return text + (
        f'[[node]]\nname = "{name}"\n'
        f'addresses = {{ lan = "{ADDRESSES[name]}", flow = "{ADDRESSES["c"]}" }}\n'
    )


def node(root: Path, name: str, authority: pki.Authority, *names: str) -> NodeConfig:
    key = pki.create_key()
    certificate = pki.sign_request(authority, pki.create_request(key, name), name, ID)
    files = {"ca.crt": authority.certificate, "node.key": key, "node.crt": certificate}
    pki.write_pki(root / name / "pki", files)
    return NodeConfig(root / name, name, parse_cluster(cluster_of(*(names or ("a", "b")))))


async def answer(caller: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if body["command"] == "refuse":
        raise CommandRefused("not now", "Wait.")
    if body["command"] == "break":
        raise KeyError("inside")
    if body["command"] == "sleep":
        await asyncio.sleep(60)
    return {"caller": caller, "body": dict(body)}


@contextlib.asynccontextmanager
async def serving(there: NodeConfig) -> AsyncGenerator[None]:
    async def admit(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"admitted": body["command"]}

    task = asyncio.create_task(ControlChannel(lambda: there, admit, PORT).serve(answer))
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def channel(here: NodeConfig) -> ControlChannel:
    return ControlChannel(lambda: here, port=PORT)


async def test_the_caller_is_the_name_in_its_certificate(tmp_path: Path) -> None:
    authority = pki.create_authority(ID)
    a, b = (node(tmp_path, n, authority) for n in "ab")
    async with serving(b):
        reply = await channel(a).request("b", {"command": "x", "text": "ü"}, 5.0)
        assert reply == {"caller": "a", "body": {"command": "x", "text": "ü"}}
        with pytest.raises(CommandRefused) as caught:
            await channel(a).request("b", {"command": "refuse"}, 5.0)
        assert (caught.value.sentence, caught.value.mend) == ("not now", "Wait.")
        with pytest.raises(Exception, match=r"internal error \(KeyError\) stopped"):
            await channel(a).request("b", {"command": "break"}, 5.0)


async def test_every_wait_has_a_bound(tmp_path: Path) -> None:
    authority = pki.create_authority(ID)
    a, b = (node(tmp_path, n, authority) for n in "ab")
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match="node b cannot be reached at"):
        await channel(a).request("b", {"command": "x"}, 5.0)
    async with serving(b):
        with pytest.raises(NodeUnreachable, match=r"did not answer within 0\.3 s"):
            await channel(a).request("b", {"command": "sleep"}, 0.3)
    assert time.monotonic() - started < 3.0


async def test_another_cluster_is_refused_on_both_sides(tmp_path: Path) -> None:
    b = node(tmp_path, "b", pki.create_authority(ID))
    a = node(tmp_path, "a", pki.create_authority(ID))
    async with serving(b):
        with pytest.raises(PeerRefused, match="not node b of this cluster"):
            await channel(a).request("b", {"command": "x"}, 5.0)


async def test_a_node_that_is_not_in_the_cluster_any_more_is_refused(tmp_path: Path) -> None:
    authority = pki.create_authority(ID)
    b = node(tmp_path, "b", authority)
    c = node(tmp_path, "c", authority, "b", "c")
    async with serving(b):
        with pytest.raises(PeerRefused, match="node c is not in this cluster any more"):
            await channel(c).request("b", {"command": "x"}, 5.0)


async def test_the_wrong_node_at_an_address_is_noticed(tmp_path: Path) -> None:
    authority = pki.create_authority(ID)
    a, c = node(tmp_path, "a", authority), node(tmp_path, "c", authority, "a", "c")
    impostor = NodeConfig(c.etc, "b", a.cluster)  # listens on b's address with c's keys
    async with serving(impostor):
        with pytest.raises(PeerRefused, match="not node b of this cluster"):
            await channel(a).request("b", {"command": "x"}, 5.0)


async def bare(there: NodeConfig, line: bytes) -> dict[str, Any]:
    """What a stranger without certificate gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = there.addresses_of(there.name)[0]
    reader, writer = await asyncio.open_connection(address, PORT, ssl=context)
    writer.write(line)
    async with asyncio.timeout(8.0):
        received = lines.decode(await read_line(reader))
    writer.close()
    return received


async def test_a_stranger_can_only_join(tmp_path: Path) -> None:
    b = node(tmp_path, "b", pki.create_authority(ID))
    async with serving(b):
        join = lines.request(1, control.control_body({"command": "join"}))
        assert (await bare(b, join))["admitted"] == "join"
        other = lines.request(1, control.control_body({"command": "stop"}))
        assert "can only join" in (await bare(b, other))["error"]["text"]


@pytest.mark.parametrize("garbage", [b"hello\n", b"\x00" * 50 + b"\n", b"{}\n", b'{"id":1}\n'])
async def test_garbage_is_refused_with_a_reason(tmp_path: Path, garbage: bytes) -> None:
    b = node(tmp_path, "b", pki.create_authority(ID))
    async with serving(b):
        received = await bare(b, garbage)
        assert received["ok"] is False
        assert received["error"]["text"]
        context = client_context(b.pki)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("steps", range(8))
async def test_a_start_that_is_cut_off_leaves_the_port_free(tmp_path: Path, steps: int) -> None:
    """A cluster file that changes twice ends a membership while it begins."""
    authority = pki.create_authority(ID)
    a, b = (node(tmp_path, n, authority) for n in "ab")
    first = asyncio.create_task(channel(b).serve(answer))
    for _ in range(steps):
        await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    async with serving(b):
        assert (await channel(a).request("b", {"command": "x"}, 5.0))["caller"] == "a"


async def test_one_address_that_cannot_be_had_does_not_block_the_other(tmp_path: Path) -> None:
    """What failed is tried again by the caller: nothing of the attempt may hold a port."""
    authority = pki.create_authority(ID)
    a, b = (node(tmp_path, n, authority) for n in "ab")
    two = NodeConfig(b.etc, "b", parse_cluster(two_networks_of("b")))
    with (
        contextlib.closing(listening_socket(ADDRESSES["c"], PORT)) as taken,
        pytest.raises(MachineError, match=re.escape(ADDRESSES["c"])),
    ):
        taken.listen()
        await channel(two).serve(answer)
    async with serving(b):
        assert (await channel(a).request("b", {"command": "x"}, 5.0))["caller"] == "a"


def test_an_address_that_is_none_is_not_taken_for_a_port_in_use() -> None:
    with pytest.raises(MachineError, match=r"999\.1\.1\.1 port 29011") as refused:
        listening_socket("999.1.1.1", PORT)
    assert "an address of this machine" in refused.value.mend
    with contextlib.closing(listening_socket(ADDRESSES["c"], PORT)) as taken:
        taken.listen()
        with pytest.raises(MachineError) as refused:
            listening_socket(ADDRESSES["c"], PORT)
    assert "Another program" in refused.value.mend
