"""`twofold witness serve`: hears claims over mutual TLS, decides, writes down, answers.

The client's SNI names a cluster; from then on only that cluster's authority counts, for our
certificate and for the caller's. Who has no certificate of it does not get past the handshake.
Everything is bounded: connections, lines, the time for a handshake, a claim, a silent caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.adapters.control_channel import HANDSHAKE_TIMEOUT_S, close, listening_socket
from twofold.errors import MachineError, PeerRefused, TwofoldError
from twofold.wire import control, lines, witness
from twofold.witness import renewal
from twofold.witness.store import ClaimStore

CONNECTIONS_MAX = 10_000
CLAIM_TIMEOUT_S = 5.0
_UNKNOWN = ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

log = logging.getLogger("twofold.witness")


class WitnessService:
    """`keys` has a directory for each cluster; one that is enrolled later is found by itself."""

    def __init__(self, keys: Path, store: ClaimStore) -> None:
        self._keys = keys
        self._store = store
        self._contexts: dict[str, tuple[float, ClusterContext]] = {}
        self._open = 0

    async def serve(self, addresses: tuple[str, ...], port: int = witness.PORT) -> None:
        """Until cancelled."""
        servers = [
            await asyncio.start_server(
                self._converse,
                sock=listening_socket(address, port),
                ssl=self._outer_context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                limit=witness.LINE_BYTES_MAX,
                backlog=512,
            )
            for address in addresses
        ]
        try:
            await asyncio.gather(*(s.serve_forever() for s in servers))
        finally:
            for server in servers:
                server.close()

    # --- whom we speak with ---------------------------------------------------------------------

    def _outer_context(self) -> ssl.SSLContext:
        """Without a key of its own: nothing is said before a cluster is named."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # a resumed session would skip the choice below
        context.sni_callback = self._choose
        return context

    def _choose(
        self, link: ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        cluster = witness.cluster_of(name)
        try:
            context = self._context(cluster) if cluster else None
        except MachineError as e:
            log.error("%s", e)
            context = None
        if context is None:
            return _UNKNOWN
        link.context = context
        return None

    def _context(self, cluster: str) -> ClusterContext | None:
        directory = self._keys / cluster
        try:
            changed_s = (directory / "witness.crt").stat().st_mtime
        except OSError:
            self._contexts.pop(cluster, None)
            return None
        known = self._contexts.get(cluster)
        if known is not None and known[0] == changed_s:
            return known[1]
        context = cluster_context(directory)
        self._contexts[cluster] = (changed_s, context)
        return context

    # --- what is said ---------------------------------------------------------------------------

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > CONNECTIONS_MAX:
                return
            cluster, node = caller(writer)
            while True:
                async with asyncio.timeout(witness.IDLE_S):
                    line = await reader.readline()
                if not line:
                    return
                writer.write(await self._answer(line, cluster, node))
                async with asyncio.timeout(CLAIM_TIMEOUT_S):
                    await writer.drain()
        except (PeerRefused, ConnectionError, ssl.SSLError, TimeoutError, ValueError) as e:
            log.debug("a connection ended: %s", e)
        finally:
            self._open -= 1
            await close(writer)

    async def _answer(self, line: bytes, cluster: str, node: str) -> bytes:
        number = 0
        try:
            number, body = lines.decode_request(line)
            witness.check_version(body)
            async with asyncio.timeout(CLAIM_TIMEOUT_S):
                return lines.reply(number, await self._handle(body, cluster, node))
        except TwofoldError as e:
            return lines.refusal(number, e)
        except TimeoutError:
            return lines.refusal(number, MachineError("the witness's disk is too slow"))
        except Exception as e:  # a bug must not end the service
            log.exception("a request failed")
            return lines.refusal(number, e)

    async def _handle(self, body: Mapping[str, Any], cluster: str, node: str) -> dict[str, Any]:
        match body.get("command"):
            case "claim":
                module, asked = witness.claim_from(body, node)
                answer = await asyncio.to_thread(self._store.claim, cluster, module, asked)
                log.info(
                    "cluster %s module %s: node %s asked for term %d: %s",
                    cluster,
                    module,
                    node,
                    asked.term,
                    "won" if answer.won else f"{answer.stored.holder} has {answer.stored.term}",
                )
                return witness.answer_fields(answer)
            case "look":
                return await asyncio.to_thread(renewal.wanted, self._keys / cluster)
            case "renew":
                await asyncio.to_thread(renewal.take, self._keys / cluster, body)
                log.info("cluster %s: node %s renewed this witness's certificate", cluster, node)
                return {}
            case other:
                raise PeerRefused(f"a witness knows no command {other!r}")


class ClusterContext(ssl.SSLContext):
    """The keys of one cluster; a connection that has chosen them speaks for that cluster only."""

    cluster: str = ""


def cluster_context(directory: Path) -> ClusterContext:
    context = ClusterContext(ssl.PROTOCOL_TLS_SERVER)
    context.cluster = directory.name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=str(directory / "ca.crt"))
        context.load_cert_chain(str(directory / "witness.crt"), str(directory / "witness.key"))
    except (OSError, ssl.SSLError) as e:
        raise MachineError(
            f"the keys under {directory} cannot be used: {e}",
            "Remove that directory and let the witness join the cluster anew.",
        ) from None
    return context


def caller(writer: asyncio.StreamWriter) -> tuple[str, str]:
    """(cluster, node) of a verified caller. The cluster is the one whose authority verified it,
    whatever else the certificate says.
    """
    certificate: dict[str, Any] = writer.get_extra_info("peercert") or {}
    link: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    context = link.context if link is not None else None
    names = [str(v) for kind, v in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if not isinstance(context, ClusterContext):
        raise PeerRefused("a caller that named no cluster was refused")
    return context.cluster, control.node_of_certificate(names, context.cluster)


def main(keys: Path, claims: Path, addresses: tuple[str, ...], port: int) -> None:
    """The whole service, until SIGTERM or SIGINT."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    store = ClaimStore(claims)
    try:
        asyncio.run(_until_told(WitnessService(keys, store), addresses, port))
    finally:
        store.close()


async def _until_told(service: WitnessService, addresses: tuple[str, ...], port: int) -> None:
    serving = asyncio.create_task(service.serve(addresses, port))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
