"""The virtual address on a real link: three hosts on a bridge, real kernels' ARP and TCP."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_interface

import pytest

from tests.system.hosts import Host, hosts
from twofold.adapters.address import VirtualAddresses
from twofold.config.schema import Address
from twofold.errors import AddressInUse, MachineError

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

VIP4, VIP6 = "10.66.0.100", "fd66::100"


@pytest.fixture
def link() -> Iterator[dict[str, Host]]:
    with hosts(
        a=("10.66.0.1/24", "fd66::1/64"),
        b=("10.66.0.2/24", "fd66::2/64"),
        client=("10.66.0.9/24", "fd66::9/64"),
    ) as found:
        yield found


def virtual(host: Host, *ips: str, peers: tuple[str, ...] = ()) -> VirtualAddresses:
    async def make() -> VirtualAddresses:
        addresses = [Address.model_validate({"ip": ip}) for ip in ips or (f"{VIP4}/24",)]
        return VirtualAddresses(addresses, peers)

    return host.do(make())


def serve(host: Host, ip: str, port: int = 8000) -> socket.socket:
    """A listener inside a host, on the wildcard address as most servers have it."""

    def make() -> socket.socket:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::" if ":" in ip else "0.0.0.0", port))
        listener.listen()
        return listener

    return host.call(make)


def connect(host: Host, ip: str, port: int = 8000) -> socket.socket:
    return host.call(lambda: socket.create_connection((ip, port), 5))


def neighbour_mac(host: Host, ip: str) -> str | None:
    words = host.ip("neigh", "show", ip).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


def within(bound_s: float, true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + bound_s
    while not true():
        assert time.monotonic() < end_s, f"not so within {bound_s} s"
        time.sleep(0.02)


def test_taken_as_secondary_with_the_prefix_of_the_interface(link: dict[str, Host]) -> None:
    a = link["a"]
    vip = virtual(a, f"{VIP4}/32", f"{VIP6}/128")
    start_s = time.monotonic()
    a.do(vip.hold())
    assert time.monotonic() - start_s < 1.0
    shown = a.ip("addr", "show", "eth0")
    assert f"inet {VIP4}/24 brd 10.66.0.255 scope global secondary eth0:tf" in shown
    assert f"inet6 {VIP6}/64 scope global nodad deprecated" in shown
    assert shown.index("10.66.0.1/24") < shown.index(VIP4)
    assert [(h.ip, h.interface, h.held) for h in a.do(vip.held())] == [
        (f"{VIP4}/32", "eth0", True),
        (f"{VIP6}/128", "eth0", True),
    ]
    a.do(vip.hold())  # again: nothing changes
    assert a.ip("addr", "show", "eth0").count(VIP4) == 1
    a.do(vip.release())
    a.do(vip.release())
    assert [h.held for h in a.do(vip.held())] == [False, False]
    assert "10.66.0.1/24" in a.ip("addr", "show", "eth0")


@pytest.mark.parametrize("ip", [VIP4, VIP6])
def test_neighbours_follow_when_it_moves(link: dict[str, Host], ip: str) -> None:
    a, b, client = link["a"], link["b"], link["client"]
    prefix = 64 if ":" in ip else 24
    on_a, on_b = virtual(a, f"{ip}/{prefix}"), virtual(b, f"{ip}/{prefix}")
    listeners = serve(a, ip), serve(b, ip)
    a.do(on_a.hold())
    connect(client, ip).close()
    assert neighbour_mac(client, ip) == a.mac()
    a.do(on_a.release())
    b.do(on_b.hold())
    within(0.5, lambda: neighbour_mac(client, ip) == b.mac())
    start_s = time.monotonic()
    connect(client, ip).close()
    assert time.monotonic() - start_s < 0.5
    b.do(on_b.release())
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("ip", [f"{VIP4}/24", f"{VIP6}/64"])
def test_refused_when_another_host_has_it(link: dict[str, Host], ip: str) -> None:
    a, b = link["a"], link["b"]
    extra = ("nodad",) if ":" in ip else ()
    b.ip("addr", "add", ip, "dev", "eth0", *extra)
    vip = virtual(a, ip)
    start_s = time.monotonic()
    with pytest.raises(AddressInUse) as refused:
        a.do(vip.hold())
    assert time.monotonic() - start_s < 0.5
    assert b.mac() in str(refused.value) and str(ip_interface(ip).ip) in str(refused.value)
    assert [h.held for h in a.do(vip.held())] == [False]


def test_all_or_none_when_one_is_in_use(link: dict[str, Host]) -> None:
    a, b = link["a"], link["b"]
    b.ip("addr", "add", "10.66.0.101/24", "dev", "eth0")
    vip = virtual(a, f"{VIP4}/24", "10.66.0.101/24")
    with pytest.raises(AddressInUse):
        a.do(vip.hold())
    assert [h.held for h in a.do(vip.held())] == [False, False]


def test_a_frozen_old_holder_among_the_peers_is_overruled(link: dict[str, Host]) -> None:
    a, b, client = link["a"], link["b"], link["client"]
    b.ip("addr", "add", f"{VIP4}/24", "dev", "eth0")
    listener = serve(b, VIP4, 7000)
    connect(a, "10.66.0.2", 7000).close()  # as heartbeats do: a knows b's MAC
    vip = virtual(a, peers=("10.66.0.2",))
    with contextlib.suppress(OSError):
        connect(client, VIP4)  # the client knows it at b
    a.do(vip.hold())
    within(0.5, lambda: neighbour_mac(client, VIP4) == a.mac())
    a.do(vip.release())
    listener.close()


def test_release_ends_connections_on_both_sides(link: dict[str, Host]) -> None:
    a, client = link["a"], link["client"]
    vip = virtual(a)
    listener = serve(a, VIP4)
    a.do(vip.hold())
    far, local, other = connect(client, VIP4), connect(a, VIP4), connect(client, "10.66.0.1")
    accepted = [listener.accept()[0] for _ in range(3)]
    a.do(vip.release())
    for ended in (far, local, accepted[0], accepted[1]):
        ended.settimeout(1)
        with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
            ended.recv(1)
    other.sendall(b"x")  # the node's own address is none of our business
    assert accepted[2].recv(1) == b"x"
    for used in (far, local, other, listener, *accepted):
        used.close()


def test_server_listening_on_both_families_is_covered(link: dict[str, Host]) -> None:
    a, client = link["a"], link["client"]
    vip = virtual(a)
    listener = serve(a, "::")  # its IPv4 clients are ::ffff:10.66.0.9
    a.do(vip.hold())
    far = connect(client, VIP4)
    accepted = listener.accept()[0]
    a.do(vip.release())
    for ended in (far, accepted):
        ended.settimeout(1)
        with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
            ended.recv(1)
        ended.close()
    listener.close()


def test_taking_it_ends_this_nodes_connections_to_the_dead_holder(link: dict[str, Host]) -> None:
    a, b = link["a"], link["b"]
    on_a, on_b = virtual(a), virtual(b)
    listener = serve(a, VIP4)
    a.do(on_a.hold())
    mine = connect(b, VIP4)
    a.ip("link", "set", "eth0", "down")  # a power cut, as b sees it
    b.do(on_b.hold())
    mine.settimeout(1)
    with pytest.raises(ConnectionAbortedError):
        mine.recv(1)
    b.do(on_b.release())
    mine.close()
    listener.close()


def test_put_back_when_somebody_removes_it(link: dict[str, Host]) -> None:
    a = link["a"]
    vip = virtual(a)
    a.do(vip.hold())
    a.ip("addr", "del", f"{VIP4}/24", "dev", "eth0")
    within(5, lambda: all(h.held for h in a.do(vip.held())))
    a.do(vip.release())
    time.sleep(2.5)
    assert [h.held for h in a.do(vip.held())] == [False]


def test_release_after_a_restart_of_the_daemon_removes_it(link: dict[str, Host]) -> None:
    a = link["a"]
    before = virtual(a)
    a.do(before.hold())
    a.do(before.close())
    after = virtual(a)
    a.do(after.hold())  # finds it, no duplicate check against itself
    a.do(after.release())
    assert VIP4 not in a.ip("addr", "show", "eth0")


def test_the_nodes_own_address_is_refused_and_never_removed(link: dict[str, Host]) -> None:
    a = link["a"]
    vip = virtual(a, "10.66.0.1/24")
    with pytest.raises(AddressInUse, match="own address"):
        a.do(vip.hold())
    a.do(vip.release())
    assert "10.66.0.1/24" in a.ip("addr", "show", "eth0")


def test_no_interface_in_its_network(link: dict[str, Host]) -> None:
    vip = virtual(link["a"], "192.0.2.5/24")
    with pytest.raises(MachineError, match="No interface of this node is in the network"):
        link["a"].do(vip.hold())


def test_own_new_connections_keep_the_nodes_address(link: dict[str, Host]) -> None:
    a, client = link["a"], link["client"]
    vip = virtual(a, f"{VIP4}/24", f"{VIP6}/64")
    a.do(vip.hold())
    for ip, own in (("10.66.0.9", "10.66.0.1"), ("fd66::9", "fd66::1")):
        listener = serve(client, ip)
        out = connect(a, ip)
        assert out.getsockname()[0] == own
        out.close()
        listener.close()
    a.do(vip.release())
