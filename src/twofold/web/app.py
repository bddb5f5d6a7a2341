"""`twofold-web`: where the parts are put together.

Runs as the user `twofold` with no rights but its group's: the daemon's socket, users.json and the
console's key. Listens on port 9010 of every address, with TLS only. Before there is a cluster
there is no certificate: it waits for one. When the certificate is renewed, new connections get the
new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles

from twofold.config.places import Places, places
from twofold.errors import MachineError
from twofold.web import settings
from twofold.web.access import Monitor
from twofold.web.api.application import add_error_answers, make_api
from twofold.web.daemon_link import DaemonLink, Link
from twofold.web.guard import API, Guard
from twofold.web.health import serves
from twofold.web.login_page import router as login_router
from twofold.web.metrics import metrics_text
from twofold.web.people import People
from twofold.web.services import Services
from twofold.web.watch import Watch

LOOK_AT_CERTIFICATE_EVERY_S = 10.0
CONNECTIONS_MAX = 400
PORT_VARIABLE = "TWOFOLD_WEB_PORT"
log = logging.getLogger("twofold.web")


def make_services(etc: Path, link: Link) -> Services:
    return Services(etc, link, People(etc, link), Watch(link))


def make_app(services: Services, with_console: bool = False) -> FastAPI:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncGenerator[None]:
        looking = asyncio.create_task(_kept_looking(services.watch))
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    app.state.services = services
    add_error_answers(app)
    app.include_router(login_router)

    @app.get("/health/{module}")
    async def health(module: str) -> Response:
        good = serves(services.watch.snapshot, module)
        return PlainTextResponse("serving\n" if good else "not serving\n", 200 if good else 503)

    @app.get("/metrics")
    async def metrics(who: Monitor, request: Request) -> Response:
        return Response(metrics_text(services), media_type="text/plain; version=0.0.4")

    app.mount(API, make_api(services))
    static = StaticFiles(directory=Path(__file__).parent / "static")
    app.mount("/static", static)
    if with_console:
        # Here, because importing it takes a second, which the API alone does not need.
        from twofold.web.console.mounting import add_console

        add_console(app)
    app.add_middleware(Guard, people=services.people, services=services)
    return app


async def _kept_looking(watch: Watch) -> None:
    while True:
        try:
            await watch.run()
        except Exception:
            log.exception("the look at the cluster failed; again in a moment")
        await asyncio.sleep(1.0)


# --- the process ----------------------------------------------------------------------------------


def _sockets(port: int) -> list[socket.socket]:
    """Every address of both families; each where the machine has it."""
    found: list[socket.socket] = []
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with contextlib.suppress(OSError):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((host, port))
            except OSError:
                listener.close()
                raise
            found.append(listener)
    if not found:
        raise MachineError(f"port {port} cannot be listened on", "Does another program use it?")
    return found


async def _certificate(etc: Path) -> ssl.SSLContext:
    said = False
    while True:
        try:
            return settings.tls_context(etc)
        except (MachineError, ssl.SSLError) as e:
            if not said:
                log.info("waiting for a certificate: %s", e)
            said = True
        await asyncio.sleep(1.0)


async def _renewed(context: ssl.SSLContext, etc: Path) -> None:
    known = settings.stamp(etc)
    while True:
        await asyncio.sleep(LOOK_AT_CERTIFICATE_EVERY_S)
        found = settings.stamp(etc)
        if found != known:
            with contextlib.suppress(MachineError, ssl.SSLError):  # half-written: at the next look
                settings.load(context, etc)
                known = found
                log.info("the console's certificate was read again")


async def _serve(where: Places, port: int) -> None:
    link = DaemonLink(where.socket)
    context = await _certificate(where.etc)
    config = uvicorn.Config(
        make_app(make_services(where.etc, link), with_console=True),
        ssl_context_factory=lambda config, default: context,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=2,
        ws_max_size=1024 * 1024,
        h11_max_incomplete_event_size=32 * 1024,
    )
    server = uvicorn.Server(config)
    renewing = asyncio.create_task(_renewed(context, where.etc))
    log.info("the console listens on port %d", port)
    try:
        await server.serve(sockets=_sockets(port))
    finally:
        renewing.cancel()
        await link.close()


def main() -> None:
    """The console script `twofold-web`."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    os.umask(0o077)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(places(), int(os.environ.get(PORT_VARIABLE) or settings.PORT)))
