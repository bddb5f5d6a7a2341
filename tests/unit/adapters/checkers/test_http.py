"""The http checker against real servers on the loopback, plain and with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.adapters.checkers.probing import probe
from tests.unit.adapters.services.stand import free_port

pytestmark = pytest.mark.timeout(20)


@contextlib.asynccontextmanager
async def web(
    answer: str, seen: list[str] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """A server that gives the same answer to everybody; `seen` gets each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            request = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(request.decode())
            writer.write(answer.encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def response(status: str, body: str = "") -> str:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"


async def test_status(tmp_path: Path) -> None:
    async with web(response("204 No Content")) as port:
        url = f"http://127.0.0.1:{port}/health"
        verdict = await probe(tmp_path, kind="http", url=url)
        assert verdict.ok and verdict.text.startswith(f"{url} answered 204 in ")
        assert not (await probe(tmp_path, kind="http", url=url, status=[200])).ok
    async with web(response("503 Busy")) as port:
        url = f"http://127.0.0.1:{port}/"
        verdict = await probe(tmp_path, kind="http", url=url)
        assert not verdict.ok and verdict.text == f"{url} answered 503"
        assert (await probe(tmp_path, kind="http", url=url, status=[503])).ok


async def test_body(tmp_path: Path) -> None:
    async with web(response("200 OK", "all is well")) as port:
        url = f"http://127.0.0.1:{port}/"
        assert (await probe(tmp_path, kind="http", url=url, body="is well")).ok
        verdict = await probe(tmp_path, kind="http", url=url, body="is ill")
        assert verdict.text == f"{url} answered without the text 'is ill'"


async def test_host_header_is_the_url_s_or_another(tmp_path: Path) -> None:
    seen: list[str] = []
    async with web(response("200 OK"), seen) as port:
        await probe(tmp_path, kind="http", url=f"http://localhost:{port}/a?b=c")
        await probe(
            tmp_path, kind="http", url=f"http://127.0.0.1:{port}/", host_header="shop.example"
        )
    assert seen[0].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"\r\nHost: localhost:{port}\r\n" in seen[0]
    assert "\r\nHost: shop.example\r\n" in seen[1]


async def test_nobody_there(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    verdict = await probe(tmp_path, kind="http", url=url)
    assert not verdict.ok and verdict.text == f"{url} could not be reached: Connection refused"


async def test_silent_or_slow_is_bounded(tmp_path: Path) -> None:
    # Headers come, the promised body never does.
    async with web("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nno more") as port:
        assert (await probe(tmp_path, kind="http", url=f"http://127.0.0.1:{port}/")).ok
    server = await asyncio.start_server(lambda _r, _w: asyncio.sleep(30), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    start_s = time.monotonic()
    verdict = await probe(tmp_path, kind="http", url=f"http://127.0.0.1:{port}/", timeout="300ms")
    server.close()
    assert time.monotonic() - start_s < 3
    assert verdict.text == f"no answer from http://127.0.0.1:{port}/ within 0.3 s"


async def test_nonsense_is_a_verdict(tmp_path: Path) -> None:
    async with web("SSH-2.0-OpenSSH_9.2\r\n\r\n") as port:
        verdict = await probe(tmp_path, kind="http", url=f"http://127.0.0.1:{port}/")
    assert not verdict.ok and "could not be reached" in verdict.text


def certificate(directory: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a certificate for `name` that signs itself, and that as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = directory / "server.crt", directory / "server.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_pem)
    return context, pem


async def test_tls_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    context, pem = certificate(tmp_path, "shop.example")
    async with web(response("200 OK"), tls=context) as port:
        url = f"https://127.0.0.1:{port}/"
        unknown = await probe(tmp_path, kind="http", url=url)
        assert not unknown.ok and "certificate verify failed" in unknown.text
        assert (await probe(tmp_path, kind="http", url=url, tls_verify=False)).ok
        known: dict[str, Any] = {"url": url, "ca": str(pem)}
        other_name = await probe(tmp_path, kind="http", **known)
        assert not other_name.ok and "certificate verify failed" in other_name.text
        right = await probe(tmp_path, kind="http", **known, host_header="shop.example")
        assert right.ok, right.text


async def test_an_authority_that_is_not_there_is_a_verdict(tmp_path: Path) -> None:
    verdict = await probe(tmp_path, kind="http", url="https://127.0.0.1:1/", ca="/no/such.pem")
    assert not verdict.ok and "No such file" in verdict.text
