"""Certificates are renewed in time; the heartbeat key's steps may stop anywhere."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from cryptography import x509

from tests.unit.daemon.two_configured import Node, two_nodes
from twofold.adapters import pki
from twofold.adapters.clock import Clock
from twofold.config.load import load_node
from twofold.daemon.founding import found
from twofold.daemon.keys import LOOK_EVERY_S, STEPS, Keys, stepped
from twofold.errors import CommandRefused, MachineError, TwofoldError

__all__ = ["two_nodes"]
DAY_S = 86400.0


class Later(Clock):
    days = 0.0

    def wall_s(self) -> float:
        return super().wall_s() + self.days * DAY_S


def test_a_certificate_is_renewed_when_half_of_its_time_is_over(tmp_path: Path) -> None:
    found(tmp_path, "a", {"lan": "127.0.0.1"}, "site", None)
    notes: list[str] = []
    clock = Later()
    keys = Keys(tmp_path, lambda n, m, b: None, clock, lambda s, v, c: notes.append(c))  # pyright: ignore[reportArgumentType]
    certificate, key = tmp_path / "pki" / "node.crt", tmp_path / "pki" / "node.key"
    before, own = certificate.read_bytes(), key.read_bytes()
    assert not keys.renew_in_time()
    clock.days = pki.NODE_DAYS / 2 + 1
    assert keys.renew_in_time()
    assert certificate.read_bytes() != before
    assert key.read_bytes() == own
    assert notes == ["certificate.renewed"]
    clock.days = 0
    assert not keys.renew_in_time()
    (tmp_path / "pki" / "ca.key").unlink()
    clock.days = pki.NODE_DAYS
    with pytest.raises(MachineError, match=r"ca\.key cannot be read"):
        keys.renew_in_time()


class Watched(Later):
    """Ends the wait for the next look, and says how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waits.put_nowait(seconds)
        await self.over.wait()
        self.over.clear()


async def test_what_cannot_be_renewed_is_an_alarm_until_it_can(tmp_path: Path) -> None:
    found(tmp_path, "a", {"lan": "127.0.0.1"}, "site", None)
    notes: list[tuple[str, str]] = []
    clock = Watched()
    keys = Keys(tmp_path, lambda n, m, b: None, clock, lambda s, v, c: notes.append((v, c)))  # pyright: ignore[reportArgumentType]
    used: list[bool] = []
    keys.use_certificate = lambda: used.append(True)
    secret, aside = tmp_path / "pki" / "ca.key", tmp_path / "ca.key"
    secret.rename(aside)
    looking = asyncio.create_task(keys.run())
    try:
        async with asyncio.timeout(10):
            assert await clock.waits.get() == LOOK_EVERY_S
            assert (keys.trouble, notes) == ("", [])
            clock.days = pki.NODE_DAYS - 0.5
            for _ in range(2):
                clock.over.set()
                assert await clock.waits.get() < LOOK_EVERY_S, "more often when the end is near"
            assert "ca.key cannot be read" in keys.trouble
            assert notes == [("alarm", "certificate.ends")], "said once"
            assert used == []
            aside.rename(secret)
            clock.over.set()
            await clock.waits.get()
            assert (keys.trouble, used) == ("", [True])
            assert notes[1:] == [("info", "certificate.renewed")]
    finally:
        looking.cancel()


def test_the_authority_is_renewed_with_its_key_so_that_old_and_new_go_together(
    tmp_path: Path,
) -> None:
    found(tmp_path, "a", {"lan": "127.0.0.1"}, "site", None)
    place = tmp_path / "pki"
    clock = Later()
    keys = Keys(tmp_path, lambda n, m, b: None, clock, lambda s, v, c: None)  # pyright: ignore[reportArgumentType]
    old = {n: (place / n).read_bytes() for n in ("ca.crt", "ca.key", "node.crt")}
    clock.days = pki.CA_DAYS / 2 + 1
    assert keys.renew_in_time()
    new = {n: (place / n).read_bytes() for n in old}
    assert (new["ca.crt"] != old["ca.crt"], new["ca.key"]) == (True, old["ca.key"])
    for ca, node in ((old, new), (new, old), (new, new)):
        load = x509.load_pem_x509_certificate
        load(node["node.crt"]).verify_directly_issued_by(load(ca["ca.crt"]))


def test_what_is_said_is_understood_between_any_two_steps() -> None:
    """All the orders in which two nodes can come through the three steps, and a second rotation
    after a stop at any place."""
    old, new, newer = "aa" * 32, "bb" * 32, "cc" * 32
    for stop in range(len(STEPS) * 2 + 1):
        nodes = {"a": [old], "b": [old]}
        moves = list(itertools.product(STEPS, nodes))[:stop]
        again = list(itertools.product(STEPS, nodes))
        for key, (step, name) in [*((new, m) for m in moves), *((newer, m) for m in again)]:
            nodes[name] = stepped(nodes[name], step, key)
            assert nodes["a"][0] in nodes["b"], (stop, step, name)
            assert nodes["b"][0] in nodes["a"], (stop, step, name)
        assert nodes == {"a": [newer], "b": [newer]}


def test_steps_out_of_order_are_refused() -> None:
    for step in ("say", "forget", "nonsense"):
        with pytest.raises(CommandRefused):
            stepped(["aa" * 32], step, "bb" * 32)
    with pytest.raises(MachineError):
        stepped(["aa" * 32], "hear", "short")


async def test_a_silent_node_stops_a_rotation_before_it_begins(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    node = load_node(a.etc)
    assert node is not None
    before = (a.etc / "pki" / "heartbeat.key").read_bytes()
    b.up = False
    with pytest.raises(TwofoldError, match="nothing was changed"):
        await a.ask("cluster_rotate_keys")
    assert (a.etc / "pki" / "heartbeat.key").read_bytes() == before


async def test_a_certificate_that_is_being_replaced_is_told_until_it_is_in_use(
    nodes: tuple[Node, Node],
) -> None:
    """Whoever looks at the files meanwhile must not take it for another membership."""
    keys = nodes[0].commands.keys
    file, seen = nodes[0].etc / "pki" / "node.crt", list[bool]()
    before = file.read_bytes()
    keys.use_certificate = lambda: seen.append(bool(keys.replacing))
    work = asyncio.ensure_future(keys.peer["peer_new_key"]("b", {}))
    while not work.done():
        await asyncio.sleep(0)
        if not work.done() and file.exists() and file.read_bytes() != before:
            seen.append(bool(keys.replacing))
    assert await work == {}
    assert seen and all(seen)
    assert not keys.replacing
