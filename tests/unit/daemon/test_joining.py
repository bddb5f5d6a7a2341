"""A cluster begins, invites and admits: over real TLS on loopback, with every refusal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters.control_channel import ControlChannel
from twofold.config.homes import lives_on
from twofold.config.load import load_module, load_node
from twofold.daemon.admission import Admission, invite
from twofold.daemon.founding import found
from twofold.daemon.joining import join
from twofold.daemon.membership import configured
from twofold.daemon.modules_on_disk import write_module
from twofold.errors import CommandRefused, NodeUnreachable, OperatorError, PeerRefused
from twofold.wire import token

PORT = 29012
A, B, C = "127.0.30.1", "127.0.30.2", "127.0.30.3"
MODULE = b'[replication]\ndirectories = ["/srv/files"]\nport = 9100\n'


def new_cluster(root: Path) -> Path:
    etc = root / "a"
    found(etc, "a", {"lan": A}, "site", None)
    return etc


@contextlib.asynccontextmanager
async def daemon_of(
    etc: Path, introduce: Callable[[str, Mapping[str, str]], Awaitable[None]] | None = None
) -> AsyncGenerator[list[str]]:
    """The inviting node's control channel, and what it was told to reload."""
    reloads: list[str] = []

    async def reload() -> None:
        reloads.append("reload")

    async def refuse(caller: str, body: Any) -> Any:
        raise AssertionError("only a join comes here")

    admission = Admission(etc, reload, introduce=introduce)
    channel = ControlChannel(lambda: configured(etc), admission.answer, PORT)
    task = asyncio.create_task(channel.serve(refuse))
    await asyncio.sleep(0.05)
    try:
        yield reloads
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def joined(
    etc: Path, text: str, name: str = "b", lan: str = B, network: str = "lan", server: str = A
) -> Any:
    return await asyncio.to_thread(join, etc, server, text, name, {network: lan}, PORT)


async def test_the_second_node_gets_everything(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    write_module(etc, "files", {"module.toml": (0o644, MODULE), "scripts/x": (0o755, b"#!")})
    async with daemon_of(etc) as reloads:
        node = await joined(tmp_path / "b", invite(etc))
    assert [n.name for n in node.cluster.nodes] == ["a", "b"]
    here = load_node(etc)
    assert here is not None
    assert here.cluster == node.cluster
    for name in ("ca.crt", "ca.key", "heartbeat.key"):
        assert (etc / "pki" / name).read_bytes() == (tmp_path / "b" / "pki" / name).read_bytes()
    assert (etc / "pki" / "node.key").read_bytes() != (
        tmp_path / "b" / "pki" / "node.key"
    ).read_bytes()
    assert load_module(tmp_path / "b", "files").digest == load_module(etc, "files").digest
    assert reloads == ["reload"]


async def test_a_join_can_be_repeated_by_the_same_node_only(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    text = invite(etc)
    async with daemon_of(etc):
        await joined(tmp_path / "b", text)
        (tmp_path / "b" / "cluster.toml").unlink()  # as if the answer had been lost
        await joined(tmp_path / "b", text)
        with pytest.raises(PeerRefused, match="was used already, by node 'b'"):
            await joined(tmp_path / "c", text, "c", C)


async def test_bad_tokens_are_refused_in_a_sentence(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    other = tmp_path / "other"
    found(other, "x", {"lan": C}, "other", None)
    async with daemon_of(etc):
        with pytest.raises(OperatorError, match="not a whole join token"):
            await joined(tmp_path / "b", "abc")
        with pytest.raises(PeerRefused, match="not of the cluster at"):
            await joined(tmp_path / "b", invite(other))
        with pytest.raises(PeerRefused, match="this token ended at"):
            await joined(tmp_path / "b", invite(etc, lifetime_s=-1.0))
        real = token.decode_token(invite(etc))
        guessed = token.Token(b"0123456789", real.ca_fingerprint)
        with pytest.raises(PeerRefused, match="not known here"):
            await joined(tmp_path / "b", token.encode_token(guessed))
    assert not (tmp_path / "b" / "cluster.toml").exists()
    here = load_node(etc)
    assert here is not None
    assert [n.name for n in here.cluster.nodes] == ["a"]


async def test_unfit_nodes_are_refused_and_the_token_stays_good(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    text = invite(etc)
    async with daemon_of(etc):
        with pytest.raises(PeerRefused, match="there is a node 'a' in this cluster already"):
            await joined(tmp_path / "b", text, name="a")
        with pytest.raises(PeerRefused, match="no address on network 'lan'"):
            await joined(tmp_path / "b", text, network="front")
        with pytest.raises(OperatorError, match="belongs to node a on lan already"):
            await joined(tmp_path / "b", text, lan=A)
        with pytest.raises(OperatorError, match="is not a name"):
            await joined(tmp_path / "b", text, name="B_b")
        await joined(tmp_path / "b", text)


async def test_a_third_node_joins_when_every_mirror_says_where_it_lives(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    async with daemon_of(etc):
        await joined(tmp_path / "b", invite(etc))
        module = etc / "modules" / "files" / "module.toml"
        module.parent.mkdir(parents=True)
        module.write_text('[replication]\ndirectories = ["/srv/files"]\n')
        text = invite(etc)
        with pytest.raises(PeerRefused, match=r"'files' is not ready .* lives on two nodes"):
            await joined(tmp_path / "c", text, "c", C)
        here = load_node(etc)
        assert here is not None
        assert [n.name for n in here.cluster.nodes] == ["a", "b"]
        module.write_text('[module]\nnodes = ["a", "b"]\n' + module.read_text())
        there = await joined(tmp_path / "c", text, "c", C)
    assert [n.name for n in there.cluster.nodes] == ["a", "b", "c"]
    assert not lives_on(there, load_module(there.etc, "files"))


async def test_nobody_is_admitted_that_the_other_nodes_have_not_been_told_of(
    tmp_path: Path,
) -> None:
    etc = new_cluster(tmp_path)
    told: list[str] = []

    async def introduce(node: str, addresses: Mapping[str, str]) -> None:
        told.append(f"{node} {dict(addresses)}")
        raise CommandRefused("node b cannot be told of the new node")

    text = invite(etc)
    async with daemon_of(etc, introduce):
        with pytest.raises(CommandRefused, match="node b cannot be told"):
            await joined(tmp_path / "c", text, "c", C)
    here = load_node(etc)
    assert here is not None
    assert told == [f"c {{'lan': '{C}'}}"]
    assert [n.name for n in here.cluster.nodes] == ["a"]
    async with daemon_of(etc):
        await joined(tmp_path / "c", text, "c", C)  # the token is as good as before


async def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    with pytest.raises(CommandRefused, match="is node a of cluster 'site' already"):
        found(etc, "a", {"lan": A}, "site", None)
    with pytest.raises(CommandRefused, match="already"):
        await joined(etc, invite(etc))


async def test_nobody_there(tmp_path: Path) -> None:
    etc = new_cluster(tmp_path)
    with pytest.raises(NodeUnreachable, match="cannot be reached on port"):
        await joined(tmp_path / "b", invite(etc))


@pytest.mark.parametrize(
    ("node", "addresses", "sentence"),
    [
        ("A B", {"lan": A}, "is not a name"),
        ("a", {"lan": "10.0.0.1/24"}, "is not an IP address"),
        ("a", {"LAN": A}, "is not a name"),
    ],
)
def test_a_wrong_beginning_leaves_nothing(
    tmp_path: Path, node: str, addresses: dict[str, str], sentence: str
) -> None:
    with pytest.raises(OperatorError, match=sentence):
        found(tmp_path / "etc", node, addresses, "site", None)
    assert not (tmp_path / "etc").exists()
