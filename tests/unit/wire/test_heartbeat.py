"""The heartbeat datagram: only with the key, only once, and what is said is what is heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import PeerRefused
from twofold.machine.model import Generation, Offer, Readiness, Report, State
from twofold.wire.heartbeat import (
    DATAGRAM_BYTES_MAX,
    Heartbeat,
    Replay,
    decode,
    encode,
    generation_fields,
    report_fields,
)

KEY = bytes(range(32))
REPORT = Report(
    state=State.PRIM,
    readiness=Readiness.READY,
    epoch=7,
    offer=Offer.SWAP,
    generation=Generation(current="00000000000000ab", history=("1", "2")),
    digest="d" * 32,
)


def beat(counter: int = 1, incarnation: int = 5, **modules: Report) -> Heartbeat:
    return Heartbeat("cluster", "a", incarnation, counter, modules)


def test_what_is_said_is_heard() -> None:
    said = beat(files=REPORT)
    (datagram,) = encode(said, KEY)
    assert decode(datagram, KEY) == said


def test_another_key_is_refused() -> None:
    (datagram,) = encode(beat(), KEY)
    with pytest.raises(PeerRefused, match="wrong key"):
        decode(datagram, bytes(32))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_refused(place: int, change: int) -> None:
    (datagram,) = encode(beat(files=REPORT), KEY)
    broken = bytearray(datagram)
    broken[place % len(broken)] ^= change
    with pytest.raises(PeerRefused):
        decode(bytes(broken), KEY)


@given(st.binary(max_size=300))
def test_garbage_is_refused_in_a_sentence(garbage: bytes) -> None:
    with pytest.raises(PeerRefused):
        decode(garbage, KEY)


def test_many_modules_are_split_and_all_are_there() -> None:
    modules = {f"module-{i}": REPORT for i in range(40)}
    datagrams = list(encode(Heartbeat("cluster", "a", 5, 10, modules), KEY))
    assert 5 < len(datagrams) <= 14, "three modules fit into one"
    assert all(len(d) < 1500 < DATAGRAM_BYTES_MAX for d in datagrams)
    heard = [decode(d, KEY) for d in datagrams]
    assert [h.counter for h in heard] == list(range(10, 10 + len(datagrams)))
    assert {name for h in heard for name in h.modules} == set(modules)


def test_each_heartbeat_counts_once_and_an_earlier_life_never() -> None:
    replay = Replay()
    assert replay.fresh(beat(3))
    assert not replay.fresh(beat(3))
    assert not replay.fresh(beat(2))
    assert replay.known(beat(3)), "the same over another network is a sign of life there"
    assert replay.fresh(beat(1, incarnation=6))
    assert not replay.fresh(beat(4, incarnation=5))
    assert not replay.known(beat(4, incarnation=5))


def test_a_newer_version_may_say_more() -> None:
    fields = report_fields(REPORT)
    assert fields["generation"] == generation_fields(REPORT.generation or Generation())
    assert fields["offer"] == "swap"
