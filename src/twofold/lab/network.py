"""The switch and its cables: two bridges in a namespace of their own, a veth pair for each port.

    lan   10.77.0.0/24, fd77::/64     a .1, b .2 (c .3, d .4), witness .8, client .9;
                                      virtual addresses from .100
    flow  10.77.1.0/24, fd77:0:0:1::/64   the nodes only: the replication cable

The switch's end of a cable is `HOST-NETWORK`. Taking it down is pulling the cable: the host sees no
carrier, and nothing it still sends gets out. A silent cut leaves the carrier and drops every frame,
as a broken switch does. The machine's own network namespace is never touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .disks import run

NETWORKS = ("lan", "flow")


@dataclass(frozen=True)
class Port:
    """One cable end at a host."""

    network: str
    ipv4: str
    ipv6: str


_NUMBER = {"a": 1, "b": 2, "c": 3, "d": 4, "witness": 8, "client": 9}


def ports_of(host: str) -> list[Port]:
    number = _NUMBER[host]
    lan = Port("lan", f"10.77.0.{number}", f"fd77::{number}")
    if host in ("client", "witness"):
        return [lan]
    return [lan, Port("flow", f"10.77.1.{number}", f"fd77:0:0:1::{number}")]


def hosts_file() -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for host in _NUMBER:
        lines += [f"{ports_of(host)[0].ipv4} {host}", f"{ports_of(host)[0].ipv6} {host}"]
    return "\n".join(lines) + "\n"


def mac_address(lab: str, host: str, network: str) -> str:
    """The same after every reboot, as a real card's: others keep it in their caches."""
    digest = hashlib.blake2b(f"{lab}/{host}/{network}".encode(), digest_size=5).digest()
    return ":".join(["02", *(f"{byte:02x}" for byte in digest)])


def _in(pid: int, *argv: str) -> None:
    run("nsenter", f"--net=/proc/{pid}/ns/net", "--", *argv)


def _ip(pid: int, commands: list[str]) -> None:
    for command in commands:
        _in(pid, "ip", *command.split())


def build_switch(switch_pid: int) -> None:
    _ip(switch_pid, ["link set lo up"])
    for network in NETWORKS:
        _ip(
            switch_pid,
            [
                f"link add {network} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {network} up",
            ],
        )


def connect(lab: str, switch_pid: int, host: str, host_pid: int, cut: list[str]) -> None:
    """Lay the host's cables and give it its addresses. Networks in `cut` stay unplugged."""
    _ip(host_pid, ["link set lo up"])
    for port in ports_of(host):
        end = f"{host}-{port.network}"
        mac = mac_address(lab, host, port.network)
        _ip(
            switch_pid,
            [
                f"link add {end} type veth peer name {port.network} address {mac} netns {host_pid}",
                f"link set {end} master {port.network}",
                f"link set {end} {'down' if port.network in cut else 'up'}",
            ],
        )
        _ip(
            host_pid,
            [
                f"address add {port.ipv4}/24 brd + dev {port.network}",
                f"link set {port.network} up",
                f"-6 address add {port.ipv6}/64 dev {port.network} nodad",
            ],
        )


def unplug(switch_pid: int, host: str, network: str) -> None:
    _ip(switch_pid, [f"link set {host}-{network} down"])


def silence(switch_pid: int, host: str, network: str) -> None:
    """Drop every frame of this port, carrier stays: a dead switch, seen from the host."""
    _in(switch_pid, "bridge", "link", "set", "dev", f"{host}-{network}", "state", "0")


def plug(switch_pid: int, host: str, network: str) -> None:
    end = f"{host}-{network}"
    _ip(switch_pid, [f"link set {end} down", f"link set {end} up"])
    # Down and up again also ends a silent cut: the port begins anew in the forwarding state.


def remove_port(switch_pid: int, host: str, network: str) -> None:
    _ip(switch_pid, [f"link delete {host}-{network}"])
