"""Two nodes that do not hear each other, while all others hear both: by routes and rules.

`Lab.cut` pulls a node's cables, for everybody. Here the client still reaches both nodes.
"""

from __future__ import annotations

import contextlib
import subprocess
import tomllib
from collections.abc import Generator

from tests.system.conftest import Pair
from twofold.lab.cluster import other
from twofold.lab.lab import NODES
from twofold.lab.network import ports_of


def part(pair: Pair, *from_nodes: str) -> None:
    """Nothing of these nodes reaches the other any more, on any network; all else does."""
    for node in from_nodes:
        for port in ports_of(other(node)):
            pair.lab.exec(node, ["ip", "route", "add", "blackhole", port.ipv4])


def join(pair: Pair, *from_nodes: str) -> None:
    for node in from_nodes:
        for port in ports_of(other(node)):
            pair.lab.exec(node, ["ip", "route", "del", "blackhole", port.ipv4], check=False)


@contextlib.contextmanager
def parted(pair: Pair) -> Generator[None]:
    part(pair, *NODES)
    try:
        yield
    finally:
        join(pair, *NODES)


@contextlib.contextmanager
def flow_lost(pair: Pair) -> Generator[None]:
    """Nothing of the replication link leaves either node; heartbeats and all else do."""
    port = str(flow_port(pair))
    rules = [["ipproto", "tcp", way, port, "blackhole"] for way in ("sport", "dport")]
    for node in NODES:
        for rule in rules:
            pair.lab.exec(node, ["ip", "rule", "add", *rule])
    try:
        yield
    finally:
        for node in NODES:
            for rule in rules:
                pair.lab.exec(node, ["ip", "rule", "del", *rule], check=False)


def flow_port(pair: Pair) -> int:
    file = f"/etc/twofold/modules/{pair.module}/module.toml"
    text = pair.lab.exec("a", ["cat", file]).stdout
    port = tomllib.loads(text)["replication"]["port"]
    assert isinstance(port, int)
    return port


_WEATHER = """
import random, subprocess, sys, time
seed, until_s, hosts = sys.argv[1], time.monotonic() + float(sys.argv[2]), sys.argv[3:]
dice = random.Random(seed)

def all_routes(what):
    for host in hosts:
        subprocess.run(["ip", "route", what, "blackhole", host], check=False)

while time.monotonic() < until_s:
    time.sleep(0.14 * 2 * dice.random())
    all_routes("add")
    time.sleep(0.06 * 2 * dice.random())
    all_routes("del")
"""


def bad_weather(pair: Pair, node: str, seconds: float) -> subprocess.Popen[bytes]:
    """Of what the node sends to the other some three tenths are lost, in bursts of 60 ms."""
    hosts = [port.ipv4 for port in ports_of(other(node))]
    command = ["timeout", str(seconds + 10), "python", "-c", _WEATHER, node, str(seconds), *hosts]
    return pair.lab.popen(node, command)
