"""The guard in front of everything: who asks, and what nobody may send.

Outermost, so that no route can forget it: without a session or a token only `PUBLIC` is there. A
cookie alone never changes anything: an unsafe request must come from our own page (`Origin`), and
to the API it must carry the session's CSRF token as well. A token in a header needs neither,
because browsers do not send it by themselves. Bodies have a bound. Every answer carries the
headers that keep browsers strict.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twofold.errors import OperatorError
from twofold.passwords import same
from twofold.web.people import People
from twofold.web.sessions import COOKIE, Who
from twofold.wire.lines import error_object

API = "/api/v1"
BODY_BYTES_MAX = 1024 * 1024
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"
# Vue compiles templates in the browser, hence 'unsafe-eval'; NiceGUI writes inline script.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self' wss:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "strict-transport-security": "max-age=31536000",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
KEY, SERVICES_KEY = "twofold.who", "twofold.services"


class Unknown(OperatorError):
    """Nobody knows who asks."""

    code = "login_needed"


class Forged(OperatorError):
    """A request that did not come from our own page."""

    code = "forged"


def is_public(path: str) -> bool:
    """All that there is for somebody who is not logged in."""
    return path in ("/login", f"{API}/login") or path.startswith(("/health/", "/static/"))


def who_of(connection: HTTPConnection) -> Who:
    who: Who | None = connection.scope.get(KEY)
    if who is None:
        raise Unknown("log in first", "POST /api/v1/login, or send a token as Bearer.")
    return who


def address_of(scope: MutableMapping[str, Any]) -> str:
    client: tuple[str, int] | None = scope.get("client")
    return client[0].removeprefix("::ffff:") if client else "?"


class Guard:
    def __init__(self, app: ASGIApp, people: People, services: object = None) -> None:
        """`services` is lent to every request; the console's pages have no other way to it."""
        self._app = app
        self._people = people
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        who = self._who(scope, headers)
        scope[KEY], scope[SERVICES_KEY] = who, self._services
        try:
            _check(scope, headers, who)
        except OperatorError as e:
            await _refuse(e, scope, receive, send)
            return
        await self._bounded(scope, receive, send)

    def _who(self, scope: Scope, headers: Headers) -> Who | None:
        address, path = address_of(scope), str(scope["path"])
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            is_for_programs = path.startswith(f"{API}/") or path == "/metrics"
            return self._people.by_token(token.strip(), address) if is_for_programs else None
        cookie = _cookie(headers.get("cookie", ""))
        return self._people.by_cookie(cookie, address) if cookie else None

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if received > BODY_BYTES_MAX:
                raise HTTPException(413, f"the request is larger than {BODY_BYTES_MAX} bytes")
            return message

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message, str(scope["path"]))
            await send(message)

        await self._app(scope, counted, strict)


def _check(scope: Scope, headers: Headers, who: Who | None) -> None:
    path = str(scope["path"])
    is_socket = scope["type"] == "websocket"
    unsafe = is_socket or scope.get("method") not in SAFE
    if unsafe and not _from_here(headers, is_socket or not path.startswith(f"{API}/")):
        raise Forged("this request comes from another site", "Use the console itself.")
    if is_public(path):
        return
    if who is None:
        raise Unknown("log in first", "POST /api/v1/login, or send a token as Bearer.")
    if unsafe and who.token is None and path.startswith(f"{API}/"):
        given = headers.get(CSRF_HEADER, "")
        if not same(given, who.csrf):
            raise Forged(
                "the header X-CSRF-Token is missing or wrong", "Take its value from GET /me."
            )


def _from_here(headers: Headers, must_say: bool) -> bool:
    """Browsers say where a request comes from; a program without a cookie need not."""
    origin = headers.get("origin")
    if origin is None:
        return not must_say or "cookie" not in headers
    return urlsplit(origin).netloc == headers.get("host", "")


def _cookie(text: str) -> str:
    if len(text) > 8192:
        return ""
    try:
        found = SimpleCookie(text).get(COOKIE)
    except Exception:  # whatever a stranger sends as a cookie is no cookie of ours
        return ""
    return found.value if found else ""


def _add_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers[name] = value
    if not path.startswith(("/static/", "/_nicegui/")):
        headers["cache-control"] = "no-store"


async def _refuse(error: OperatorError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    path = str(scope["path"])
    is_page = isinstance(error, Unknown) and not path.startswith((API, "/metrics", "/_nicegui"))
    if is_page and scope.get("method") in SAFE:
        to = f"/login?next={quote(path)}" if path != "/" else "/login"
        await _answer(303, error, scope, send, {"location": to})
        return
    await _answer(401 if isinstance(error, Unknown) else 403, error, scope, send)


async def _answer(
    status: int,
    error: OperatorError,
    scope: Scope,
    send: Send,
    more: dict[str, str] | None = None,
) -> None:
    body = json.dumps(error_object(error)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(more or {})}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    _add_headers(start, str(scope["path"]))
    await send(start)
    await send({"type": "http.response.body", "body": body})
