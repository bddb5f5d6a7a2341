"""The Ethernet frames that say who has an IP address: ARP (RFC 826, 5227) and NDP (RFC 4861, 4862).

Two questions and one statement are needed for a virtual address:

- *probe*: "who has X?", asked without claiming anything (sender address zero, or `::`), so that no
  neighbour's cache is changed by asking;
- *answer*: a frame that shows another host has X (its reply, its own announcement, or its probe);
- *announcement*: "X is at this MAC", broadcast. For IPv4 in two forms, because some hosts learn
  only from requests and some only from replies; for IPv6 an advertisement that overrides.

Pure: bytes in, bytes out. IPv4 and IPv6 are told apart by the type of the address.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD

_BROADCAST = b"\xff" * 6
_ZERO_MAC = b"\x00" * 6
_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_HEAD = (1, 0x0800, 6, 4)  # Ethernet, IPv4, and the lengths of their addresses
_REQUEST, _REPLY = 1, 2
_IPV6 = struct.Struct("!IHBB16s16s")
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136
_OVERRIDE = 0x20000000
_OPTION_SOURCE_MAC, _OPTION_TARGET_MAC, _OPTION_NONCE = 1, 2, 14
_ALL_NODES = ipaddress.IPv6Address("ff02::1")


@dataclass(frozen=True)
class Claim:
    """A frame that shows `mac` has, or is about to take, `ip`."""

    ip: IPv4Address | IPv6Address
    mac: bytes


def mac_text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def ethertype(ip: IPv4Address | IPv6Address) -> int:
    """Which protocol of the link answers for this address."""
    return ETHERTYPE_ARP if isinstance(ip, IPv4Address) else ETHERTYPE_IPV6


def probe(mac: bytes, ip: IPv4Address | IPv6Address) -> bytes:
    """Ask the link for `ip` without claiming it."""
    if isinstance(ip, IPv4Address):
        nobody = IPv4Address(0)
        return _arp(_BROADCAST, mac, _REQUEST, mac, nobody, _ZERO_MAC, ip)
    # Only hosts with the same last 24 bits listen here: the group's purpose.
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(ip) & 0xFFFFFF)
    # A nonce, so that a looped-back copy of this probe is not taken for another host (RFC 7527).
    nonce = struct.pack("!BB6s", _OPTION_NONCE, 1, mac)
    body = struct.pack("!BBHI16s", _SOLICITATION, 0, 0, 0, ip.packed) + nonce
    return _icmpv6(mac, IPv6Address(0), group, body)


def announcements(mac: bytes, ip: IPv4Address | IPv6Address) -> tuple[bytes, ...]:
    """Tell everybody on the link that `ip` is at `mac`."""
    if isinstance(ip, IPv4Address):
        return (
            _arp(_BROADCAST, mac, _REQUEST, mac, ip, _ZERO_MAC, ip),
            _arp(_BROADCAST, mac, _REPLY, mac, ip, _BROADCAST, ip),
        )
    option = struct.pack("!BB6s", _OPTION_TARGET_MAC, 1, mac)
    body = struct.pack("!BBHI16s", _ADVERTISEMENT, 0, 0, _OVERRIDE, ip.packed) + option
    return (_icmpv6(mac, ip, _ALL_NODES, body),)


def read_claim(frame: bytes) -> Claim | None:
    """What a received frame claims, or None when it claims nothing (or is not understood)."""
    if len(frame) < _ETHERNET.size:
        return None
    _, source_mac, kind = _ETHERNET.unpack_from(frame)
    body = frame[_ETHERNET.size :]
    if kind == ETHERTYPE_ARP:
        return _read_arp(body)
    if kind == ETHERTYPE_IPV6:
        return _read_ndp(source_mac, body)
    return None


def _read_arp(body: bytes) -> Claim | None:
    if len(body) < _ARP.size:
        return None
    *head, operation, sender_mac, sender_ip, _, target_ip = _ARP.unpack_from(body)
    if tuple(head) != _ARP_HEAD or operation not in (_REQUEST, _REPLY):
        return None
    # A probe has no sender: its host wants the address that it asks for.
    claimed = target_ip if sender_ip == bytes(4) else sender_ip
    return Claim(IPv4Address(claimed), sender_mac)


def _read_ndp(source_mac: bytes, body: bytes) -> Claim | None:
    if len(body) < _IPV6.size + 24:
        return None
    _, _, following, hops, source, _ = _IPV6.unpack_from(body)
    message = body[_IPV6.size :]
    # 255 hops: it was not forwarded by a router, so it is from this link.
    if following != _ICMPV6 or hops != 255:
        return None
    if message[0] == _ADVERTISEMENT:
        return Claim(IPv6Address(message[8:24]), _target_mac(message[24:]) or source_mac)
    if message[0] == _SOLICITATION and source == bytes(16):
        return Claim(IPv6Address(message[8:24]), source_mac)
    return None


def _target_mac(options: bytes) -> bytes | None:
    while len(options) >= 8 and options[1] > 0:
        if options[0] == _OPTION_TARGET_MAC:
            return options[2:8]
        options = options[options[1] * 8 :]
    return None


def _arp(
    to: bytes,
    mac: bytes,
    operation: int,
    sender_mac: bytes,
    sender_ip: IPv4Address,
    target_mac: bytes,
    target_ip: IPv4Address,
) -> bytes:
    return _ETHERNET.pack(to, mac, ETHERTYPE_ARP) + _ARP.pack(
        *_ARP_HEAD, operation, sender_mac, sender_ip.packed, target_mac, target_ip.packed
    )


def _icmpv6(mac: bytes, source: IPv6Address, group: IPv6Address, body: bytes) -> bytes:
    """One frame to an IPv6 multicast group; `body` has a zero where the checksum goes."""
    pseudo = source.packed + group.packed + struct.pack("!II", len(body), _ICMPV6)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(body)) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    header = _IPV6.pack(6 << 28, len(body), _ICMPV6, 255, source.packed, group.packed)
    to = b"\x33\x33" + group.packed[12:]
    return _ETHERNET.pack(to, mac, ETHERTYPE_IPV6) + header + body
