"""Does a web server answer as it should: status, text, certificate?

Each probe is a new connection, as a new client's would be. The name is looked up by `names`, so a
silent name server holds nobody else. Redirects are not followed: where they lead is another probe.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from twofold.adapters.checkers.names import address_of, plain
from twofold.adapters.checkers.target import Target
from twofold.config.schema_checkers import Checker
from twofold.ports import Verdict

if TYPE_CHECKING:
    import httpx

BODY_BYTES_MAX = 1 << 20


class HttpChecker:
    def __init__(self, checker: Checker, target: Target) -> None:
        self.name = checker.name
        self._checker, self._url = checker, checker.url or ""
        self._parts = urlsplit(self._url)
        self._trust: ssl.SSLContext | None = None

    async def probe(self) -> Verdict:
        import httpx  # the other kinds do without it

        checker, start_s = self._checker, time.monotonic()
        try:
            async with asyncio.timeout(checker.timeout_s):
                address = await address_of(self._parts.hostname or "", checker.timeout_s)
                async with httpx.AsyncClient(
                    verify=self._context(), timeout=checker.timeout_s, trust_env=False
                ) as client:
                    return await self._ask(client, address, start_s)
        except TimeoutError:
            return Verdict(False, f"no answer from {self._url} within {checker.timeout_s:g} s")
        except httpx.TimeoutException:
            return Verdict(False, f"no answer from {self._url} within {checker.timeout_s:g} s")
        except (httpx.HTTPError, OSError, ssl.SSLError) as error:
            return Verdict(False, f"{self._url} could not be reached: {_why(error)}")

    async def _ask(self, client: httpx.AsyncClient, address: str, start_s: float) -> Verdict:
        checker = self._checker
        name = checker.host_header or self._parts.hostname or ""
        host = checker.host_header or self._parts.netloc
        url = urlunsplit(self._parts._replace(netloc=_netloc(address, self._parts.port)))
        headers = {"Host": host, "User-Agent": "twofold"}
        options = {"sni_hostname": name} if self._parts.scheme == "https" else {}
        async with client.stream("GET", url, headers=headers, extensions=options) as answer:
            if not _welcome(answer.status_code, checker.status):
                return Verdict(False, f"{self._url} answered {answer.status_code}")
            if checker.body is not None and not await _has(answer, checker.body):
                return Verdict(False, f"{self._url} answered without the text {checker.body!r}")
            took_ms = round((time.monotonic() - start_s) * 1000)
            return Verdict(True, f"{self._url} answered {answer.status_code} in {took_ms} ms")

    def _context(self) -> ssl.SSLContext:
        """Read once: the system's authorities are hundreds."""
        if self._trust is None:
            if self._parts.scheme != "https":
                self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            else:
                self._trust = ssl.create_default_context(cafile=self._checker.ca)
            if not self._checker.tls_verify:
                self._trust.check_hostname = False
                self._trust.verify_mode = ssl.CERT_NONE
        return self._trust


def _welcome(status: int, wanted: tuple[int, ...]) -> bool:
    return status in wanted if wanted else 200 <= status <= 399


def _netloc(address: str, port: int | None) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}" if port is not None else host


async def _has(answer: httpx.Response, text: str) -> bool:
    """In the first megabyte."""
    wanted, seen = text.encode(), b""
    async for piece in answer.aiter_bytes():
        seen += piece
        if wanted in seen or len(seen) > BODY_BYTES_MAX:
            break
    return wanted in seen


def _why(error: Exception) -> str:
    """The last cause is the plainest."""
    while error.__cause__ is not None or error.__context__ is not None:
        inner = error.__cause__ or error.__context__
        if not isinstance(inner, Exception):
            break
        error = inner
    return str(error) if isinstance(error, ssl.SSLError) else plain(error)
