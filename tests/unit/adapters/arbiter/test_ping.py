"""ICMP echo: what is sent and what counts as the answer; real pings where that is allowed."""

from __future__ import annotations

import os
import time

import pytest

from twofold.adapters.arbiter.ping import PingArbiter
from twofold.system.echo import answered, echo

MARK = b"\x12\x34\x00\x07"


def test_the_request_has_a_checksum_and_its_mark() -> None:
    packet = echo(False, MARK)
    words = [int.from_bytes(packet[i : i + 2], "big") for i in range(0, len(packet), 2)]
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert packet[0] == 8 and packet[4:8] == MARK
    assert echo(True, MARK)[0] == 128


@pytest.mark.parametrize(
    ("packet", "six", "counts"),
    [
        (bytes([0x45]) + bytes(19) + b"\0\0\xff\xff" + MARK, False, True),
        (bytes([0x46]) + bytes(23) + b"\0\0\xff\xff" + MARK, False, True),  # with IP options
        (bytes([0x45]) + bytes(19) + b"\x08\0\xff\xff" + MARK, False, False),  # a request
        (bytes([0x45]) + bytes(19) + b"\x03\x01\xff\xff" + MARK, False, False),  # unreachable
        (bytes([0x45]) + bytes(19) + b"\0\0\xff\xff\x12\x34\0\x08", False, False),  # another's
        (b"\x81\0\xff\xff" + MARK, True, True),
        (b"", False, False),
        (b"\x45", False, False),
    ],
)
def test_only_the_reply_to_this_request_counts(packet: bytes, six: bool, counts: bool) -> None:
    assert answered(packet, six, MARK) == counts


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a raw socket needs root")
async def test_one_of_several_that_answers_is_enough() -> None:
    arbiter = PingArbiter(("240.0.0.1", "127.0.0.1"), settle_s=0.3)
    assert (await arbiter.claim(0, False, 1.0)).won is True
    started_s = time.monotonic()
    assert (await arbiter.claim(0, True, 1.0)).won is True
    assert time.monotonic() - started_s >= 0.3, "after a failure it answers twice"
    said = await PingArbiter(("240.0.0.1",), 0.3).claim(0, False, 0.3)
    assert said.won is None and "240.0.0.1" in said.text
