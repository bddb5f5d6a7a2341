"""Whoever knocks at the primary's port and is not its peer of this version: refused with a reason.

Nothing of it is applied, the real secondary keeps its place, and the primary goes on.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair

pytestmark = pytest.mark.timeout(90)

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "mirror_wire.txt"


def vector(name: str) -> bytes:
    for line in VECTORS.read_text().splitlines():
        if line.startswith(name + " "):
            return bytes.fromhex(line.split()[1])
    raise AssertionError(f"no vector {name}")


def header(version: int, kind: int, length: int) -> bytes:
    return b"TFMR" + struct.pack("<HHIIQ", version, kind, length, 0, 0)


HELLO = vector("hello")
KIND = struct.unpack_from("<H", HELLO, 6)[0]
VERSION = struct.unpack_from("<H", HELLO, 4)[0]


def knock(pair: Pair, words: bytes) -> bytes:
    """Says this with the secondary's own certificate; returns what is answered."""
    pki = {name: pair.b.config["tls"][name] for name in ("ca", "cert", "key")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pki["ca"])
    context.load_cert_chain(pki["cert"], pki["key"])
    host, port = pair.a.config["listen"][0].rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname="a") as line,
    ):
        line.settimeout(8)
        line.sendall(words)
        answer = b""
        with suppress(OSError):
            while piece := line.recv(65536):
                answer += piece
        return answer


def test_strangers_and_nonsense_change_nothing(pair: Pair) -> None:
    pair.start()
    (pair.a.tree / "before").write_text("x")
    host, port = pair.a.config["listen"][0].rsplit(":", 1)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\xff" * 70000, b""):
        with socket.create_connection((host, int(port)), 5) as plain:
            plain.settimeout(5)
            with suppress(OSError):
                plain.sendall(garbage)
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65536):
                    pass
    (pair.a.tree / "after").write_text("x")
    status = pair.a.status()
    assert status["link"] == "up" and status["counters"]["resyncs"] == 1
    assert "a connection was refused" in pair.a.log()
    same(pair)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"\x00" * 64, "not bytes of a twofold mirror"),
        (header(VERSION + 9, KIND, 0), "version"),
        (header(VERSION, KIND, 0xFFFFFFFF), "longer than the allowed"),
        (header(VERSION, KIND, 5) + b"\xff" * 5, "hello"),
        (header(VERSION, 0x7777, 0), "kind"),
        (HELLO, "cluster"),
    ],
    ids=["garbage", "version", "length", "body", "kind", "cluster"],
)
def test_a_peer_that_says_what_it_must_not_is_told_why(
    pair: Pair, words: bytes, reason: str
) -> None:
    pair.start()
    answer = knock(pair, words)
    refused = pair.a.status()["refused"]
    assert refused, f"no reason was kept; the log: {pair.a.log()[-600:]}"
    assert reason in refused.lower(), refused
    assert refused.encode()[:40] in answer, "the peer is told the reason too"
    (pair.a.tree / "after").write_text("x")
    assert pair.a.status()["link"] == "up"
    assert pair.a.status()["counters"]["resyncs"] == 1
    same(pair)


def test_half_a_frame_holds_nobody_up(pair: Pair) -> None:
    pair.start()
    begun = time.monotonic()
    assert knock(pair, HELLO[:30]) == b""
    assert time.monotonic() - begun < 6
    (pair.a.tree / "after").write_text("x")
    assert pair.a.status()["link"] == "up"


def test_a_primary_that_has_seen_less_refuses_and_both_know_why(pair: Pair) -> None:
    pair.start()
    pair.b.kill()
    pair.a.wait_status(frozen=True)
    pair.b.start()
    pair.b.command("outdate", epoch=50)
    pair.b.command("become_secondary", epoch=50)
    for engine in (pair.a, pair.b):
        engine.wait_until(lambda engine=engine: "seen epoch 50" in engine.log())
        assert "seen epoch 50" in engine.status()["refused"]


@pytest.mark.parametrize("pair", [{"faults": []}], indirect=True)
def test_a_read_only_file_system_is_a_fact(pair: Pair) -> None:
    pair.start()
    read_only = [{"effect": "write", "what": {"fail": {"errno": errno.EROFS}}}]
    pair.a.command("faults", plan=read_only)
    with pytest.raises(OSError) as caught:
        (pair.a.tree / "file").write_text("x")
    assert caught.value.errno == errno.EROFS
    assert pair.a.status()["failed"]["what"] == "read_only"
    pair.a.command("faults", plan=[])
    same(pair)
