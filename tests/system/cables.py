"""Two nodes that do not hear each other, while all others hear both: by routes and by filters.

`Lab.cut` pulls a node's cables, for everybody. Here the client still reaches both nodes.
"""

from __future__ import annotations

import contextlib
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


def drop(pair: Pair, node: str, what: str) -> None:
    """The node's kernel drops what arrives and matches, in the words of nft."""
    rules = (
        f"table inet lost {{ chain arrives {{ type filter hook input priority 0; {what} drop; }} }}"
    )
    pair.lab.exec(node, ["nft", "-f", "-"], stdin=rules)


@contextlib.contextmanager
def dropped(pair: Pair, what: str) -> Generator[None]:
    """What matches arrives at neither node."""
    for node in NODES:
        drop(pair, node, what)
    try:
        yield
    finally:
        for node in NODES:
            pair.lab.exec(node, ["nft", "delete", "table", "inet", "lost"], check=False)
