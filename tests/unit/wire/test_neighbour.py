"""ARP and NDP frames: byte for byte as the RFCs have them; what others send is understood."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from twofold.wire.neighbour import Claim, announcements, mac_text, probe, read_claim

MAC = bytes.fromhex("020000000001")
V4, V6 = IPv4Address("10.66.0.100"), IPv6Address("fd66::100")


def test_arp_probe_asks_without_claiming() -> None:
    assert probe(MAC, V4).hex() == (
        "ffffffffffff" "020000000001" "0806"
        "0001" "0800" "06" "04" "0001"
        "020000000001" "00000000"
        "000000000000" "0a420064"
    )  # fmt: skip


def test_arp_is_announced_as_request_and_as_reply() -> None:
    request, reply = announcements(MAC, V4)
    assert request[20:22] == b"\x00\x01" and reply[20:22] == b"\x00\x02"
    for frame in (request, reply):
        assert frame[:6] == b"\xff" * 6
        assert read_claim(frame) == Claim(V4, MAC)


def test_ipv6_announcement_overrides_and_has_a_good_checksum() -> None:
    (frame,) = announcements(MAC, V6)
    assert frame[:6] == bytes.fromhex("333300000001")
    assert read_claim(frame) == Claim(V6, MAC)
    assert frame[14 + 40 + 4] == 0x20
    assert _icmpv6_sum(frame) == 0xFFFF


def test_ipv6_probe_goes_to_the_solicited_node_group() -> None:
    frame = probe(MAC, V6)
    assert frame[:6] == bytes.fromhex("3333ff000100")
    assert frame[14 + 8 : 14 + 24] == bytes(16)
    assert _icmpv6_sum(frame) == 0xFFFF


def test_a_probe_of_another_host_counts_as_a_claim() -> None:
    assert read_claim(probe(MAC, V4)) == Claim(V4, MAC)
    assert read_claim(probe(MAC, V6)) == Claim(V6, MAC)


def test_forwarded_ndp_is_not_believed() -> None:
    (frame,) = announcements(MAC, V6)
    assert read_claim(frame[:21] + b"\x40" + frame[22:]) is None


@given(st.binary(max_size=120))
def test_garbage_claims_nothing_or_something_but_never_fails(garbage: bytes) -> None:
    read_claim(garbage)
    read_claim(bytes(12) + b"\x08\x06" + garbage)
    read_claim(bytes(12) + b"\x86\xdd" + garbage)


def test_mac_as_people_write_it() -> None:
    assert mac_text(MAC) == "02:00:00:00:00:01"


def _icmpv6_sum(frame: bytes) -> int:
    header, body = frame[14:54], frame[54:]
    data = header[8:40] + len(body).to_bytes(4, "big") + (58).to_bytes(4, "big") + body
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
