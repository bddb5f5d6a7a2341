"""A real etcd as witness (Debian's etcd-server)."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold.adapters.arbiter.etcd import EtcdWitness
from twofold.adapters.arbiter.witnesses import Witnesses, look_at
from twofold.config.schema_arbitration import WitnessSection
from twofold.machine.arbitration import Ruling

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not here")


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(two.getsockname()[1])


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports())
    words = ["etcd", "--data-dir", str(tmp_path / "etcd"), "--log-level", "error"]
    words += ["--listen-client-urls", client, "--advertise-client-urls", client]
    words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    process = subprocess.Popen([*words, "--initial-cluster", f"default={peer}"])
    try:
        yield client
    finally:
        process.kill()
        process.wait(10)


def witness(endpoint: str, cluster: str) -> EtcdWitness:
    fields = {"name": "dcs", "kind": "etcd", "endpoints": ["http://127.0.0.1:9", endpoint]}
    return EtcdWitness(WitnessSection.model_validate(fields), cluster)


async def test_etcd_rules_as_any_witness(etcd: str) -> None:
    """The first endpoint is dead; 20 claims at one moment have one winner for each term."""
    link = witness(etcd, str(uuid.uuid4()))
    for _ in range(100):
        if (await look_at([link], 1.0)).ok:
            break
        await asyncio.sleep(0.1)
    arbiters = {n: Witnesses([link], "files", n) for n in "ab"}
    for term in range(1, 6):
        said = await asyncio.gather(
            *(arbiters["ab"[i % 2]].claim(term, False, 5) for i in range(20))
        )
        holders = {"ab"[i % 2] for i, ruling in enumerate(said) if ruling.won}
        assert len(holders) == 1
        holder = holders.pop()
        assert {r for r in said if not r.won} == {Ruling(False, holder, term)}
    await link.close()


async def test_an_etcd_that_is_gone_cannot_rule() -> None:
    link = witness("http://127.0.0.1:9", str(uuid.uuid4()))
    said = await Witnesses([link], "files", "a").claim(1, False, 1.0)
    assert said.won is None and "etcd dcs does not answer" in said.text
    assert not (await look_at([link], 1.0)).ok
    await link.close()
