"""Where a virtual address goes: the interface by network, its own prefix, never a first address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from twofold.adapters.address.links import (
    Link,
    LinkAddress,
    choose_place,
    holder,
    is_own_address,
)
from twofold.errors import MachineError

MAC = bytes(6)


def address(text: str, ours: bool = False, secondary: bool = False) -> LinkAddress:
    ip, prefix = text.split("/")
    return LinkAddress(ip_address(ip), int(prefix), ours, secondary)


def link(name: str, *addresses: LinkAddress, index: int = 2) -> Link:
    return Link(index, name, MAC, addresses)


LO = Link(1, "lo", None, (address("127.0.0.1/8"), address("::1/128")))
ETH0 = link("eth0", address("10.0.0.1/24"), address("fd00::1/64"), address("fe80::1/64"))
ETH1 = link("eth1", address("192.168.0.1/16"), index=3)
VPN = link("vpn", address("10.0.0.77/32"), index=4)
LINKS = (LO, ETH0, ETH1, VPN)


@pytest.mark.parametrize(
    ("ip", "prefix", "interface", "expected"),
    [
        ("10.0.0.100", 24, None, ("eth0", 24)),
        ("10.0.0.100", 32, None, ("eth0", 24)),  # the interface knows its network better
        ("192.168.7.7", 24, None, ("eth1", 16)),
        ("fd00::100", 128, None, ("eth0", 64)),
        ("10.0.0.100", 24, "eth0", ("eth0", 24)),
        ("172.16.0.9", 24, "eth1", ("eth1", 24)),  # another network on a named interface
    ],
)
def test_found_by_network(
    ip: str, prefix: int, interface: str | None, expected: tuple[str, int]
) -> None:
    place = choose_place(LINKS, ip_address(ip), prefix, interface)
    assert (place.link.name, place.prefix) == expected


def test_the_narrowest_network_wins() -> None:
    wide = link("wide", address("10.0.0.2/8"), index=9)
    assert choose_place((wide, ETH0), ip_address("10.0.0.100"), 24, None).link == ETH0


def test_another_modules_address_does_not_make_a_network() -> None:
    only_virtual = link("eth5", address("172.30.0.9/24", ours=True, secondary=True))
    with pytest.raises(MachineError, match="No interface"):
        choose_place((only_virtual,), ip_address("172.30.0.100"), 24, None)


@pytest.mark.parametrize(
    ("ip", "prefix", "interface", "words"),
    [
        ("172.16.0.9", 24, None, "No interface of this node is in the network"),
        ("10.0.0.100", 24, "eth9", "does not exist on this node; it has lo, eth0"),
        ("172.16.0.9", 32, "eth1", "with the network's prefix length"),
        ("fd00::100", 64, "eth1", "no address of its own"),  # it would be the first one there
    ],
)
def test_refused_with_what_to_do(ip: str, prefix: int, interface: str | None, words: str) -> None:
    with pytest.raises(MachineError) as refused:
        choose_place(LINKS, ip_address(ip), prefix, interface)
    assert words in str(refused.value)


def test_own_and_virtual_are_told_apart() -> None:
    virtual = address("10.0.0.100/24", ours=True, secondary=True)
    by_hand = address("10.0.0.101/24", secondary=True)
    eth0 = link("eth0", address("10.0.0.1/24"), virtual, by_hand)
    assert is_own_address(eth0, ip_address("10.0.0.1"))
    assert is_own_address(eth0, ip_address("10.0.0.101"))
    assert not is_own_address(eth0, virtual.ip)
    assert holder((eth0,), virtual.ip) == (eth0, virtual)
    assert holder((eth0,), ip_address("10.0.0.200")) is None


def test_a_long_interface_name_leaves_no_room_for_the_mark() -> None:
    unmarked = address("10.0.0.100/24", secondary=True)
    long_name = link("enp0s31f6np0v1", address("10.0.0.1/24"), unmarked)
    assert not is_own_address(long_name, unmarked.ip)
    assert is_own_address(long_name, ip_address("10.0.0.1"))
