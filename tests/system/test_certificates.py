"""Certificates end and are made anew while everything runs.

All daemons of this lab count a day of a certificate's life as a fraction of a second, so that a
node's lives 40 s: in the time of this file each has ended several times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator

import pytest

from tests.system.conftest import Pair, formed
from twofold.adapters import pki
from twofold.lab.cluster import Cluster
from twofold.lab.lab import Lab

pytestmark = [
    pytest.mark.root, pytest.mark.fuse, pytest.mark.long, pytest.mark.timeout(400)
]  # fmt: skip

LIFE_S = 40.0
LIVES = 2.5
CONTROL_PORT, FLOW_PORT = 9011, 9100
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
HEALTH = """
import ssl, sys, urllib.request as u
context = ssl._create_unverified_context()
print(u.urlopen(f"https://{sys.argv[1]}:9010/health/{sys.argv[2]}", context=context).status)
"""
SHOWN = """
import ssl, sys
print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2])), timeout=5))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Lab, Cluster]]:
    name = f"TWOFOLD_LAB_ENV_{pki.DAY_VARIABLE}"
    os.environ[name] = str(LIFE_S / pki.NODE_DAYS)
    try:
        yield from formed(tmp_path_factory)
    finally:
        del os.environ[name]


def shown(pair: Pair, node: str, port: int) -> bytes:
    """The certificate that somebody sees who connects there now."""
    words = ["python", "-c", SHOWN, ADDRESSES[node], str(port)]
    return pair.lab.exec(node, words).stdout.encode()


def left_s(certificate: bytes) -> float:
    return pki.expires_in_days(certificate) * pki.DAY_S


def doctor(pair: Pair, node: str) -> str:
    return pair.twofold(node, "doctor", check=False)[1]


def test_nothing_notices_that_certificates_end(pair: Pair) -> None:
    serving = pair.primary()
    connections = [("a", CONTROL_PORT), ("b", CONTROL_PORT), (serving, FLOW_PORT)]
    before = {c: shown(pair, *c) for c in connections}
    began_s, log = time.monotonic(), pair.twofold(serving, "why", pair.module)[1]
    while time.monotonic() < began_s + LIVES * LIFE_S:
        assert pair.shown(serving) == "PRIM Ready"
        words = ["python", "-c", HEALTH, ADDRESSES[serving], pair.module]
        assert "200" in pair.lab.exec(serving, words).stdout
        time.sleep(3)
    pair.calm()
    assert pair.twofold(serving, "why", pair.module)[1] == log, "nothing had to be decided"
    assert all(left_s(c) < 0 for c in before.values()), "what was shown then is over"
    for connection in connections:
        assert left_s(shown(pair, *connection)) > 0, connection
    pair.twofold(serving, "swap", pair.module)  # the engines meet anew, in the other direction
    pair.whole()
    assert pair.primary() != serving
    assert left_s(shown(pair, pair.primary(), FLOW_PORT)) > 0
    pair.calm()
    for node in "ab":
        said = pair.twofold(node, "events", "-n", "1000")[1]
        assert "the node's certificate is renewed" in said
        assert "cannot be renewed" not in said
    pair.nothing_lost()


def test_what_cannot_be_renewed_is_told_everywhere(pair: Pair) -> None:
    told = "cannot be renewed"
    assert told not in doctor(pair, "b")
    pair.lab.exec("b", ["mv", "/etc/twofold/pki/ca.key", "/root/ca.key"])
    pair.cluster.wait("doctor tells it", lambda: told in doctor(pair, "b"), LIFE_S)
    assert "ca.key cannot be read" in doctor(pair, "a"), "also on the other node"
    assert told in pair.twofold("a", "cluster", "state")[1]
    assert told in pair.twofold("b", "events", "--alarms")[1]
    pair.lab.exec("b", ["mv", "/root/ca.key", "/etc/twofold/pki/ca.key"])
    pair.cluster.wait("it is mended", lambda: told not in doctor(pair, "b"), LIFE_S)
    pair.calm()
