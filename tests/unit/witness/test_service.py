"""The witness as its clients meet it: a real process, real TLS, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.witness.keys import ClusterKeys
from twofold.adapters import pki
from twofold.adapters.arbiter.service import ServiceWitness, Sign
from twofold.adapters.arbiter.witnesses import Witnesses, look_at
from twofold.config.schema_arbitration import WitnessSection
from twofold.errors import TwofoldError
from twofold.machine.arbitration import Answer, Claim, Ruling


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WitnessProcess:
    def __init__(self, root: Path, port: int | None = None) -> None:
        self.keys = root / "etc" / "witness"
        self.port = port or free_port()
        self._environment = {
            **os.environ,
            "TWOFOLD_ETC": str(root / "etc"),
            "TWOFOLD_VAR": str(root / "var"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["witness", "serve", "--listen", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "twofold", *words], env=self._environment
        )
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise AssertionError("the witness does not listen")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    process = WitnessProcess(tmp_path / "w1")
    process.start()
    yield process
    process.kill()


def client(
    process: WitnessProcess, cluster: ClusterKeys, node: str, sign: Sign | None = None
) -> ServiceWitness:
    section = WitnessSection.model_validate({"name": "w1", "address": f"127.0.0.1:{process.port}"})
    return ServiceWitness(section, cluster.id, cluster.pki(node), sign)


async def bounded(link: ServiceWitness, asked: Claim, module: str = "files") -> Answer:
    async with asyncio.timeout(5):
        return await link.claim(module, asked)


async def test_the_first_has_it_for_ever_also_after_kill_9(
    witness: WitnessProcess, tmp_path: Path
) -> None:
    cluster = ClusterKeys(tmp_path, witness.keys)
    a, b = client(witness, cluster, "a"), client(witness, cluster, "b")
    assert (await bounded(a, Claim(1, "a"))).won
    lost = await bounded(b, Claim(1, "b"))
    assert not lost.won and lost.stored == Claim(1, "a")
    assert (await bounded(b, Claim(1, "b"), "other")).won
    witness.kill()
    witness.start()
    assert not (await bounded(b, Claim(1, "b"))).won, "over a new connection, from the disk"
    assert (await bounded(a, Claim(1, "a"))).won, "its own answer may have been lost"
    assert (await bounded(b, Claim(2, "b"))).won
    await a.close()
    await b.close()


async def test_a_witness_is_given_a_new_certificate_before_the_old_one_ends(
    witness: WitnessProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pki.DAY_VARIABLE, str(8 / pki.NODE_DAYS))  # a life of 8 s
    cluster = ClusterKeys(tmp_path, witness.keys)
    monkeypatch.delenv(pki.DAY_VARIABLE)
    cluster.renew_nodes()
    own = witness.keys / cluster.id / "witness.crt"
    before = own.read_bytes()

    def stolen(name: str, request: bytes) -> tuple[bytes, bytes]:
        return ClusterKeys(tmp_path, tmp_path / "elsewhere").sign_for_witness(name, request)

    link = client(witness, cluster, "a", cluster.sign_for_witness)
    thief = client(witness, cluster, "a", stolen)
    namesake = client(witness, cluster, "b", lambda n, r: cluster.sign_for_witness("other", r))
    await link.look()
    assert own.read_bytes() == before, "not before half of its life is over"
    await asyncio.sleep(5)
    for wrong in (thief, namesake):
        await wrong.look()  # it rules all the same
        await wrong.close()
    assert own.read_bytes() == before
    await link.look()
    assert pki.expires_in_days(own.read_bytes()) > 700
    await asyncio.sleep(4)
    await link.close()
    assert (await bounded(link, Claim(1, "a"))).won, "the old one is over"
    await link.close()


async def test_many_ask_at_one_moment_and_one_wins(witness: WitnessProcess, tmp_path: Path) -> None:
    cluster = ClusterKeys(tmp_path, witness.keys)
    links = [client(witness, cluster, "ab"[i % 2]) for i in range(20)]
    for term in range(1, 6):
        asked = [Claim(term, "ab"[i % 2]) for i in range(20)]
        answers = await asyncio.gather(
            *(bounded(link, claim) for link, claim in zip(links, asked, strict=True))
        )
        holders = {c.holder for c, answer in zip(asked, answers, strict=True) if answer.won}
        assert len(holders) == 1
    for link in links:
        await link.close()


async def test_clusters_do_not_meet(witness: WitnessProcess, tmp_path: Path) -> None:
    one, two = ClusterKeys(tmp_path, witness.keys), ClusterKeys(tmp_path, witness.keys)
    first, second = client(witness, one, "a"), client(witness, two, "b")
    assert (await bounded(first, Claim(1, "a"))).won
    assert (await bounded(second, Claim(1, "b"))).won
    section = WitnessSection.model_validate({"name": "w1", "address": f"127.0.0.1:{witness.port}"})
    stranger = ServiceWitness(section, one.id, two.pki("a"))  # keys of the one, name of the other
    with pytest.raises(TwofoldError):
        await bounded(stranger, Claim(2, "a"))
    with pytest.raises(TwofoldError):
        await bounded(ServiceWitness(section, "0" * 36, one.pki("a")), Claim(2, "a"))
    assert (await bounded(first, Claim(2, "a"))).won, "the stranger changed nothing"
    await first.close()
    await second.close()


async def test_a_witness_that_hangs_is_no_ruling_and_an_answer_that_is_late_is_none(
    witness: WitnessProcess, tmp_path: Path
) -> None:
    cluster = ClusterKeys(tmp_path, witness.keys)
    link = client(witness, cluster, "a")
    arbiter = Witnesses([link], "files", "a")
    assert await arbiter.claim(1, False, 5.0) == Ruling(True, "a", 1)
    witness.signal(signal.SIGSTOP)
    started_s = time.monotonic()
    said = await arbiter.claim(2, False, 0.5)
    assert said.won is None and "w1 did not answer in time" in said.text
    assert time.monotonic() - started_s < 2
    assert not (await look_at([link], 0.3)).ok
    witness.signal(signal.SIGCONT)
    assert await arbiter.claim(2, True, 5.0) == Ruling(True, "a", 2)
    await link.close()


async def test_a_majority_of_three_with_one_gone(tmp_path: Path) -> None:
    witnesses = [WitnessProcess(tmp_path / f"w{i}") for i in range(3)]
    cluster = ClusterKeys(tmp_path, witnesses[0].keys)
    for other in witnesses[1:]:
        other.keys.mkdir(parents=True)
        (other.keys / cluster.id).symlink_to(witnesses[0].keys / cluster.id)
    try:
        for process in witnesses[:2]:
            process.start()
        links = {n: [client(w, cluster, n) for w in witnesses] for n in "ab"}
        for group in links.values():
            for i, link in enumerate(group):
                link.name = f"w{i}"
        a, b = (Witnesses(links[n], "files", n) for n in "ab")
        rulings = await asyncio.gather(a.claim(1, False, 3.0), b.claim(1, False, 3.0))
        assert sorted(str(r.won) for r in rulings) in (["False", "True"], ["None", "True"])
        winner = "a" if rulings[0].won else "b"
        loser = b if winner == "a" else a
        assert (await loser.claim(1, True, 3.0)) == Ruling(False, winner, 1)
        assert (await look_at(links["a"], 1.0)).ok
        witnesses[0].kill()
        assert not (await look_at(links["a"], 1.0)).ok
        assert (await a.claim(2, False, 1.0)).won is None
    finally:
        for process in witnesses:
            process.kill()
