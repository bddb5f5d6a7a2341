"""The control channel: requests between daemons over mutual TLS 1.3, TCP 9011.

One connection carries one request and its reply. A client dials all addresses of the other node at
the same time and takes the first that completes TLS; a dead network costs nothing then. The server
listens on all of this node's addresses, also on those whose interface is not up yet.

Trust: both sides verify the chain to the cluster's CA; the client also verifies that the server's
name is the node it wants, and the server takes the caller's name from the verified certificate. A
caller without certificate reaches `admit` with the two join commands and nothing else.

Everything is bounded: line length, time for a handshake and a line, connections at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twofold.config.load import NodeConfig
from twofold.errors import MachineError, NodeUnreachable, PeerError, PeerRefused, TwofoldError
from twofold.wire import control, lines

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Admitter = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

HANDSHAKE_TIMEOUT_S = 5.0
LINE_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 600.0  # the longest command; the caller has its own, shorter bound
CONNECTIONS_MAX = 64
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78

_Attempt = asyncio.Task[tuple[asyncio.StreamReader, asyncio.StreamWriter]]

log = logging.getLogger("twofold.control")


class ControlChannel:
    """Implements `twofold.ports.ControlPort`."""

    def __init__(
        self,
        node: Callable[[], NodeConfig],
        admit: Admitter | None = None,
        port: int = control.PORT,
    ) -> None:
        self._node = node
        self._admit = admit
        self._port = port
        self._numbers = itertools.count(1)
        self._servers: list[asyncio.Server] = []
        self._context: ssl.SSLContext | None = None  # of the servers
        self._open = 0

    async def request(
        self, node: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """Ask another node. Raises `NodeUnreachable`, or what the node refused with."""
        here = self._node()
        if node not in {n.name for n in here.cluster.nodes}:
            raise NodeUnreachable(f"there is no node {node!r} in this cluster")
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await self._connect(here, node)
                try:
                    return await exchange(reader, writer, next(self._numbers), body)
                finally:
                    await close(writer)
        except TimeoutError:
            raise NodeUnreachable(
                f"node {node} did not answer within {timeout_s:g} s",
                "Is twofoldd running there?",
            ) from None

    async def _connect(
        self, here: NodeConfig, node: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = client_context(here.pki)
        name = control.certificate_name(node, here.cluster.cluster.id)
        return await connect_any(here.addresses_of(node), self._port, context, name, node)

    async def serve(self, handle: Handler) -> None:
        """Listen on this node's addresses until cancelled."""
        here = self._node()
        context = self._context = server_context(here.pki)

        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._answer(reader, writer, handle)

        try:
            for address in here.addresses_of(here.name):
                listener = listening_socket(address, self._port)
                # Begun by `serve_forever`: a cancellation between two steps of a begin would leave
                # behind a port that is in use by nobody.
                server = await asyncio.start_server(
                    on_connection,
                    sock=listener,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                    limit=lines.LINE_BYTES_MAX,
                    start_serving=False,
                )
                self._servers.append(server)
            await asyncio.gather(*(s.serve_forever() for s in self._servers))
        finally:
            for server in self._servers:
                server.close()
            self._servers.clear()

    def use_new_keys(self) -> None:
        """What connects from now on sees the certificate that is on disk now."""
        if self._context is not None:
            _with_our_keys(self._context, self._node().pki)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
    ) -> None:
        number = 0
        self._open += 1
        try:
            if self._open > CONNECTIONS_MAX:
                raise PeerRefused("too many connections at a time")
            async with asyncio.timeout(LINE_TIMEOUT_S):
                line = await read_line(reader)
            number, body = lines.decode_request(line)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await self._handled(writer, control.check_version(body), handle)
            reply = lines.reply(number, answer)
        except TwofoldError as e:
            reply = lines.refusal(number, e)
        except TimeoutError:
            reply = lines.refusal(number, PeerRefused("the request took too long"))
        except (ConnectionError, ssl.SSLError):
            reply = b""
        except Exception as e:  # a bug in a handler must not end the server
            log.exception("a control request failed")
            reply = lines.refusal(number, e)
        finally:
            self._open -= 1
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            writer.write(reply)
            async with asyncio.timeout(LINE_TIMEOUT_S):
                await writer.drain()
        await close(writer)

    async def _handled(
        self, writer: asyncio.StreamWriter, body: Mapping[str, Any], handle: Handler
    ) -> Mapping[str, Any]:
        here = self._node()
        certificate: dict[str, Any] | None = writer.get_extra_info("peercert")
        if not certificate:
            control.check_admissible(body)
            if self._admit is None:
                raise PeerRefused("this node does not admit new nodes now")
            return await self._admit(body)
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        caller = control.node_of_certificate(names, here.cluster.cluster.id)
        if caller not in {n.name for n in here.peers}:
            raise PeerRefused(
                f"node {caller} is not in this cluster any more", "Let it join again."
            )
        return await handle(caller, body)


# --- pieces that the join of a new node uses too --------------------------------------------------


def client_context(pki: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _with_our_keys(context, pki)


def server_context(pki: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL  # without one, only a join is heard
    return _with_our_keys(context, pki)


def _with_our_keys(context: ssl.SSLContext, pki: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "node.crt"), str(pki / "node.key"))
    except (OSError, ssl.SSLError) as e:
        raise MachineError(
            f"the keys under {pki} cannot be used: {e}",
            "Leave the cluster and join it again to get new ones.",
        ) from None
    return context


def listening_socket(address: str, port: int) -> socket.socket:
    """Bound also when the address is not (yet) on an interface of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((address, port))
        listener.setblocking(False)
    except OSError as e:
        listener.close()
        mend = "Name an address of this machine; `ip address` shows them."
        if e.errno == errno.EADDRINUSE:
            mend = "Another program has that port; `ss -ltnp` shows which."
        text = f"cannot listen on {address} port {port}: {e.strerror}"
        raise MachineError(text, mend) from None
    return listener


async def connect_any(
    addresses: tuple[str, ...], port: int, context: ssl.SSLContext, name: str, node: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first connection that completes TLS; the others are closed."""
    attempts = [
        asyncio.create_task(
            asyncio.open_connection(
                address,
                port,
                ssl=context,
                server_hostname=name,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                limit=lines.LINE_BYTES_MAX,
            )
        )
        for address in addresses
    ]
    reasons: list[str] = []
    winner = None
    try:
        waiting = set(attempts)
        while waiting and winner is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    winner = winner or attempt
                elif isinstance(error, ssl.SSLCertVerificationError):
                    raise PeerRefused(
                        f"what answers at {node}'s address is not node {node} of this cluster "
                        f"({error.verify_message})",
                        "Check the addresses in cluster.toml.",
                    )
                elif isinstance(error, OSError):
                    reasons.append(error.strerror or str(error))
                else:
                    raise error
        if winner is not None:
            return winner.result()
    finally:
        await _drop_others(attempts, winner)
    raise NodeUnreachable(
        f"node {node} cannot be reached at {', '.join(addresses)} ({'; '.join(set(reasons))})",
        "Is it switched on, and twofoldd running there?",
    )


async def _drop_others(attempts: list[_Attempt], winner: _Attempt | None) -> None:
    """Cancel attempts under way, close connections that came second."""
    for attempt in attempts:
        if not attempt.done():
            attempt.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await attempt
        elif attempt is not winner and not attempt.cancelled() and attempt.exception() is None:
            attempt.result()[1].close()


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    number: int,
    body: Mapping[str, Any],
) -> dict[str, Any]:
    """Send one request, read its reply."""
    try:
        writer.write(lines.request(number, control.control_body(body)))
        await writer.drain()
        return lines.decode_reply(await read_line(reader), number)
    except (ConnectionError, ssl.SSLError) as e:
        # With TLS 1.3 a refused certificate shows up here, at the first read.
        raise NodeUnreachable(f"the connection was ended by the other node ({e})") from None


async def read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError:
        raise PeerRefused(
            f"a line of more than {lines.LINE_BYTES_MAX} bytes was received"
        ) from None
    if not line:
        raise NodeUnreachable("the connection ended before an answer came")
    return line


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError, PeerError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
