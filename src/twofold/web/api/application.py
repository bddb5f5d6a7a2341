"""The API as an application: routes, what an error looks like, the document that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from twofold import __version__
from twofold.client import DaemonAbsent
from twofold.errors import ConfigError, NotThere, OperatorError, PeerError, TwofoldError
from twofold.web.api import (
    cluster_routes,
    config_routes,
    module_routes,
    people_routes,
    snapshot_routes,
)
from twofold.web.api.files import problems_in
from twofold.web.api.models import Error
from twofold.web.confirm import ConfirmNeeded
from twofold.web.daemon_link import Busy
from twofold.web.guard import Forged, Unknown
from twofold.web.people import LoginRefused, TooSoon
from twofold.web.services import Services
from twofold.wire.lines import error_object
from twofold.wire.roles import NotPermitted

ABOUT = """What `twofold` on the command line does, for programs and for the console.

Log in with POST /login (a cookie, and a `csrf` value for the header X-CSRF-Token of every
change), or send a token: `Authorization: Bearer tf_...`. Roles: **monitor** looks, **control**
starts and stops, **admin** does everything. An error has `code` (stays the same), `text`, `mend`.
"""
_STATUS: tuple[tuple[type[TwofoldError], int], ...] = (
    (Unknown, 401),
    (LoginRefused, 401),
    (NotPermitted, 403),
    (Forged, 403),
    (NotThere, 404),
    (ConfirmNeeded, 409),
    (TooSoon, 429),
    (Busy, 429),
    (DaemonAbsent, 503),
    (PeerError, 503),
    (ConfigError, 422),
    (OperatorError, 409),
)
_TEXTS = {
    401: "Nobody is logged in, or the token is not valid",
    403: "The role does not permit it, or the request comes from another site",
    404: "There is no such thing",
    409: "Not possible now, or only when confirmed (`confirm_needed`) or forced (`needs_force`)",
    413: "The request is too large",
    422: "The request itself, or the configuration in it, is wrong (`problems`)",
    429: "Too many attempts, or too much is asked at the moment",
    503: "The daemon, or the other node, does not answer",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Error, "description": text} for code, text in _TEXTS.items()
}

ROUTERS = (
    people_routes.router,
    module_routes.router,
    config_routes.router,
    cluster_routes.router,
    snapshot_routes.router,
)


def status_of(error: TwofoldError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 409)


def make_api(services: Services) -> FastAPI:
    api = FastAPI(
        title="Twofold",
        version=__version__,
        description=ABOUT,
        docs_url=None,  # they would fetch scripts from other hosts
        redoc_url=None,
        responses=_RESPONSES,
        servers=[{"url": "/api/v1"}],
        root_path_in_servers=False,
    )
    api.state.services = services
    for router in ROUTERS:
        api.include_router(router)
    add_error_answers(api)
    return api


def add_error_answers(app: FastAPI) -> None:
    """Errors look the same everywhere."""
    app.add_exception_handler(TwofoldError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TwofoldError)
    headers: dict[str, str] = {}
    status = status_of(error)
    if isinstance(error, TooSoon):
        headers["retry-after"] = str(max(1, round(error.wait_s)))
    elif status in (429, 503):
        headers["retry-after"] = "1"
    elif status == 401:
        headers["www-authenticate"] = "Bearer"
    said: dict[str, Any] = {**error_object(error)}
    if isinstance(error, ConfigError):
        said["problems"] = [p.model_dump() for p in problems_in(error)]
    return JSONResponse(said, status, headers)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = error.errors()[0]
    where = ".".join(str(p) for p in first["loc"])
    said = {
        "code": "invalid",
        "text": f"{where}: {first['msg']}",
        "mend": "See /api/v1/openapi.json",
    }
    return JSONResponse(said, 422)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "not_there", 405: "wrong_method"}.get(error.status_code, "invalid")
    said = {"code": code, "text": str(error.detail), "mend": "See /api/v1/openapi.json"}
    headers = dict(error.headers) if error.headers else None
    # A body that is no text is wrong in the same way as one that is no JSON.
    return JSONResponse(said, 422 if error.status_code == 400 else error.status_code, headers)
