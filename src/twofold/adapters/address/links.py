"""The interfaces and addresses of this node, read and changed by netlink.

`read_links` gives one snapshot; choosing from it is pure. Calls take milliseconds (28 of them with
a hundred addresses) and block: use them in a thread. pyroute2 has no types, so what comes from it
gets its type here.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from twofold.errors import MachineError

_ARPHRD_ETHER = 1
_IFA_F_SECONDARY = 0x01
_IFA_F_NODAD = 0x02
_IFA_F_DEPRECATED = 0x20
_FOREVER_S = 0xFFFFFFFF
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_LABEL_END = ":tf"  # "eth0:tf" in `ip addr` shows an IPv4 address as ours
_LABEL_BYTES = 15

GLANCE_S = 0.5

Ip = IPv4Address | IPv6Address


@dataclass(frozen=True)
class LinkAddress:
    """One address on an interface. `ours`: it carries the mark of a virtual address."""

    ip: Ip
    prefix: int
    ours: bool
    secondary: bool

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(f"{self.ip}/{self.prefix}", strict=False)


@dataclass(frozen=True)
class Link:
    """One network interface. `mac` is None where there is no Ethernet (loopback, tunnels)."""

    index: int
    name: str
    mac: bytes | None
    addresses: tuple[LinkAddress, ...]

    def own(self, ip_version: int) -> tuple[LinkAddress, ...]:
        """The node's own addresses here: not the virtual ones, not link-local."""
        return tuple(
            a
            for a in self.addresses
            if a.ip.version == ip_version and not a.ours and not a.ip.is_link_local
        )


@dataclass(frozen=True)
class Place:
    """Where a virtual address goes."""

    link: Link
    prefix: int


def holder(links: tuple[Link, ...], ip: Ip) -> tuple[Link, LinkAddress] | None:
    """The interface that has `ip` now."""
    for link in links:
        for address in link.addresses:
            if address.ip == ip:
                return link, address
    return None


def is_own_address(link: Link, ip: Ip) -> bool:
    """Whether `ip` is this server's own address: then it can be nobody's virtual address."""
    # An interface whose name leaves no room for our label: there, secondary has to be enough.
    unmarked = ip.version == 4 and len(link.name + _LABEL_END) > _LABEL_BYTES
    return any(a.ip == ip and not (unmarked and a.secondary) for a in link.own(ip.version))


def choose_place(
    links: tuple[Link, ...], ip: Ip, configured_prefix: int, interface: str | None
) -> Place:
    """The interface named, or the one with `ip`'s network, and the prefix length it has there."""
    candidates = [link for link in links if interface is None or link.name == interface]
    if not candidates:
        names = ", ".join(link.name for link in links)
        raise MachineError(
            f"The interface {interface} of the virtual address {ip} does not exist on this node; "
            f"it has {names}. Correct `interface` in module.toml, or leave it out."
        )
    around = [
        (own.prefix, link)
        for link in candidates
        for own in link.own(ip.version)
        if ip in own.network and own.prefix < own.ip.max_prefixlen
    ]
    if around:
        prefix, link = max(around, key=lambda found: found[0])
        return Place(link, prefix)
    if interface is None:
        raise MachineError(
            f"No interface of this node is in the network of the virtual address {ip}. "
            "Give one an address in that network, or name `interface` in module.toml."
        )
    link = candidates[0]
    # K3s and others take an interface's first address for the node's own: it must not be ours.
    if not link.own(ip.version) or configured_prefix == ip.max_prefixlen:
        raise MachineError(
            f"The interface {interface} has no address of its own in the network of the virtual "
            f"address {ip}. Give it one first, with the network's prefix length."
        )
    return Place(link, configured_prefix)


def read_links() -> tuple[Link, ...]:
    """Every interface with its addresses, in the kernel's order."""
    with _netlink() as netlink:
        found: dict[int, list[LinkAddress]] = {}
        for message in netlink.get_addr():
            attributes: dict[str, Any] = dict(message["attrs"])
            text = attributes.get("IFA_LOCAL") or attributes.get("IFA_ADDRESS")
            if text is not None:
                address = _link_address(ipaddress.ip_address(text), message, attributes)
                found.setdefault(int(message["index"]), []).append(address)
        links: list[Link] = []
        for message in netlink.get_links():
            attributes = dict(message["attrs"])
            mac_text = attributes.get("IFLA_ADDRESS")
            ethernet = message["ifi_type"] == _ARPHRD_ETHER and mac_text is not None
            mac = bytes.fromhex(str(mac_text).replace(":", "")) if ethernet else None
            index = int(message["index"])
            name = str(attributes["IFLA_IFNAME"])
            links.append(Link(index, name, mac, tuple(found.get(index, ()))))
        return tuple(links)


class Glance:
    """One reading for all who look at about the same moment, in threads.

    A reading takes 0.3 ms for each address, and each of many modules looks at its own:
    at each `state`, every two seconds while it holds it, and all of them at once when a node takes
    them all over. Who changes something calls `forget`, and it is seen at once.
    """

    def __init__(
        self,
        read: Callable[[], tuple[Link, ...]] = read_links,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self.now_s = now_s
        self._one_reads = threading.Lock()
        self._links: tuple[Link, ...] = ()
        self._begun_s: float | None = None
        self._until_s = 0.0

    def links(self) -> tuple[Link, ...]:
        """At most `GLANCE_S` old."""
        with self._one_reads:
            if self._begun_s is None or self.now_s() >= self._until_s:
                self._look()
            return self._links

    def links_since(self, asked_s: float) -> tuple[Link, ...]:
        """Of a reading that began at `asked_s` (of `now_s`) or later: whoever asked while another
        was reading shares the next."""
        with self._one_reads:
            if self._begun_s is None or self._begun_s < asked_s:
                self._look()
            return self._links

    def forget(self) -> None:
        with self._one_reads:  # a reading that began before the change is waited for
            self._begun_s = None

    def _look(self) -> None:
        begun_s = self.now_s()
        self._links = self._read()
        self._begun_s, self._until_s = begun_s, self.now_s() + GLANCE_S


def _link_address(ip: Ip, message: Any, attributes: dict[str, Any]) -> LinkAddress:
    flags = int(attributes.get("IFA_FLAGS", message["flags"]))
    secondary = bool(flags & _IFA_F_SECONDARY) and ip.version == 4
    if ip.version == 4:
        ours = str(attributes.get("IFA_LABEL", "")).endswith(_LABEL_END)
    else:
        ours = bool(flags & _IFA_F_DEPRECATED and flags & _IFA_F_NODAD)
    return LinkAddress(ip, int(message["prefixlen"]), ours, secondary)


def add_address(place: Place, ip: Ip) -> bool:
    """Add it; False when it was there already."""
    options: dict[str, Any] = {}
    if ip.version == 4:
        label = place.link.name + _LABEL_END
        if len(label) <= _LABEL_BYTES:
            options["label"] = label
        if place.prefix < 31:
            net = ipaddress.ip_network(f"{ip}/{place.prefix}", strict=False)
            options["broadcast"] = str(net.broadcast_address)
    else:
        # We have looked for duplicates ourselves. Deprecated: reachable, but not used as the
        # source of this node's own connections, which would hang when the address moves.
        options["flags"] = _IFA_F_NODAD
        options["preferred_lft"] = 0
        options["valid_lft"] = _FOREVER_S
    with _netlink() as netlink:
        try:
            netlink.addr(
                "add",
                index=place.link.index,
                address=str(ip),
                prefixlen=place.prefix,
                family=_FAMILY[ip.version],
                **options,
            )
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                return False
            raise _refused("added to", ip, place.link.name, error) from error
    return True


def remove_address(link: Link, ip: Ip, prefix: int) -> None:
    """Remove it; nothing happens when it is gone already."""
    with _netlink() as netlink:
        try:
            netlink.addr(
                "del",
                index=link.index,
                address=str(ip),
                prefixlen=prefix,
                family=_FAMILY[ip.version],
            )
        except NetlinkError as error:
            if error.code not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise _refused("removed from", ip, link.name, error) from error


def neighbour_macs(ips: frozenset[str]) -> frozenset[bytes]:
    """The MAC addresses under which the kernel knows these neighbours."""
    macs: set[bytes] = set()
    with _netlink() as netlink, contextlib.suppress(NetlinkError):
        for message in netlink.get_neighbours():
            attributes: dict[str, Any] = dict(message["attrs"])
            if attributes.get("NDA_DST") in ips and "NDA_LLADDR" in attributes:
                macs.add(bytes.fromhex(str(attributes["NDA_LLADDR"]).replace(":", "")))
    return frozenset(macs)


def _netlink() -> Any:
    return IPRoute()


def _refused(verb: str, ip: Ip, interface: str, error: NetlinkError) -> MachineError:
    reason = error.args[1] if len(error.args) > 1 else str(error)
    return MachineError(f"The virtual address {ip} could not be {verb} {interface}: {reason}.")
