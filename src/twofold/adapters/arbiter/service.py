"""A `twofold witness` as a client sees it: one connection, kept, made anew when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twofold.config.schema_arbitration import WitnessSection
from twofold.config.values import split_host_port
from twofold.errors import MachineError, NodeUnreachable, PeerRefused, TwofoldError
from twofold.machine.arbitration import Answer, Claim
from twofold.wire import lines, witness

_CLOSE_S = 0.5
Sign = Callable[[str, bytes], tuple[bytes, bytes]]  # a witness's name and request: certificate, CA
log = logging.getLogger("twofold.witness")


class ServiceWitness:
    """Implements `Witness`. Callers bound their waits; one request at a time is under way."""

    def __init__(
        self,
        section: WitnessSection,
        cluster_id: str,
        pki: Path,
        sign: Sign | None = None,
        port: int | None = None,
    ) -> None:
        self._sign = sign
        self.name = section.name
        assert section.address is not None, "checked when the configuration was read"
        self._host, said = split_host_port(section.address)
        self._port = port or said
        self._server_name = witness.witness_name(section.name, cluster_id)
        self._pki = pki
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def claim(self, module: str, asked: Claim) -> Answer:
        return witness.answer_from(await self._ask(witness.claim_body(module, asked.term)))

    async def look(self) -> None:
        request = (await self._ask(witness.look_body())).get("csr")
        if self._sign is None or not isinstance(request, str):
            return
        try:
            signed = await asyncio.to_thread(self._sign, self.name, request.encode())
            await self._ask(witness.renew_body(*signed))
        except TwofoldError as e:  # it rules all the same
            log.warning("witness %s does not get its new certificate: %s", self.name, e)

    async def close(self) -> None:
        await self._drop()

    async def _ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Asked once more over a new connection when the kept one turns out to be dead."""
        async with self._lock:
            kept = self._link is not None
            try:
                return await self._exchange(body)
            except NodeUnreachable:
                if not kept:
                    raise
            return await self._exchange(body)

    async def _exchange(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        done = False
        try:
            reader, writer = self._link = self._link or await self._connect()
            number = next(self._numbers)
            writer.write(lines.request(number, body))
            await writer.drain()
            line = await reader.readline()
            if not line:
                raise NodeUnreachable(f"witness {self.name} ended the connection")
            done = True
            return lines.decode_reply(line, number)
        except ssl.SSLCertVerificationError as e:
            raise PeerRefused(
                f"what answers at {self._host} is not witness {self.name} ({e.verify_message})",
                "Let it join the cluster again: twofold witness join",
            ) from None
        except (OSError, ssl.SSLError, ValueError) as e:
            reason = getattr(e, "strerror", None) or str(e) or type(e).__name__
            raise NodeUnreachable(
                f"witness {self.name} cannot be reached at {self._host}:{self._port} ({reason})"
            ) from None
        finally:
            if not done:  # also when the caller's time is over: an answer that comes later is lost
                await self._drop()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            self._host,
            self._port,
            ssl=self._context(),
            server_hostname=self._server_name,
            limit=witness.LINE_BYTES_MAX,
        )

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(cafile=str(self._pki / "ca.crt"))
            context.load_cert_chain(str(self._pki / "node.crt"), str(self._pki / "node.key"))
        except (OSError, ssl.SSLError) as e:
            raise MachineError(f"the keys under {self._pki} cannot be used: {e}") from None
        return context

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link[1].transport.abort()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await link[1].wait_closed()
