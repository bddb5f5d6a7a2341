"""An etcd cluster as one witness, over its JSON gateway (etcd 3.4 and later, `/v3`).

The key `/twofold/CLUSTER/MODULE` holds `TERM HOLDER`. A claim reads it, decides like any witness,
and writes it in a transaction that compares the revision it has read: two claims at one moment
cannot both succeed. Reads are linearizable, so an etcd without its majority answers nothing.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from twofold.config.schema_arbitration import WitnessSection
from twofold.errors import ConfigError, NodeUnreachable, PeerRefused
from twofold.machine.arbitration import NOBODY, Answer, Claim, decide

ATTEMPTS_MAX = 3
TIMEOUT_S = 2.0


class EtcdWitness:
    """Implements `Witness`. Callers bound their waits."""

    def __init__(self, section: WitnessSection, cluster_id: str) -> None:
        self.name = section.name
        self._section = section
        self._prefix = f"/twofold/{cluster_id}/"
        self._client: httpx.AsyncClient | None = None

    async def claim(self, module: str, asked: Claim) -> Answer:
        key = _text64(self._prefix + module)
        for _ in range(ATTEMPTS_MAX):
            stored, revision = await self._read(key)
            answer = decide(stored, asked)
            if answer.stored == stored or await self._write(key, revision, answer.stored):
                return answer
        raise NodeUnreachable(f"etcd {self.name}: others write {self._prefix}{module} all the time")

    async def look(self) -> None:
        await self._post("kv/range", {"key": _text64(self._prefix)})

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _read(self, key: str) -> tuple[Claim, int]:
        found = (await self._post("kv/range", {"key": key})).get("kvs", [])
        if not found:
            return NOBODY, 0
        try:
            term, holder = base64.b64decode(found[0]["value"]).decode().split(" ")
            return Claim(int(term), holder), int(found[0]["mod_revision"])
        except (ValueError, KeyError, TypeError):
            raise PeerRefused(f"etcd {self.name}: a key of ours holds something else") from None

    async def _write(self, key: str, revision: int, claim: Claim) -> bool:
        put = {"key": key, "value": _text64(f"{claim.term} {claim.holder}")}
        compare = {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        body = {"compare": [compare], "success": [{"request_put": put}]}
        return bool((await self._post("kv/txn", body)).get("succeeded"))

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The first endpoint that answers counts."""
        client = self._client = self._client or self._make_client()
        reasons: list[str] = []
        for endpoint in self._section.endpoints:
            try:
                reply = await client.post(f"{endpoint.rstrip('/')}/v3/{path}", json=body)
                if reply.is_success:
                    return reply.json()
                reasons.append(f"{endpoint}: {_reason(reply)}")
            except (httpx.HTTPError, ValueError) as e:
                reasons.append(f"{endpoint}: {str(e) or type(e).__name__}")
        raise NodeUnreachable(f"etcd {self.name} does not answer ({'; '.join(reasons)})")

    def _make_client(self) -> httpx.AsyncClient:
        section = self._section
        verify: ssl.SSLContext | bool = True
        try:
            if section.ca is not None:
                verify = ssl.create_default_context(cafile=section.ca)
                if section.cert is not None:
                    verify.load_cert_chain(section.cert, section.key)
        except (OSError, ssl.SSLError) as e:
            raise ConfigError(
                f"witness {self.name}: its certificates cannot be used: {e}",
                "See the paths ca, cert and key in cluster.toml, on each node.",
            ) from None
        # Nothing of the environment (proxies) may come between a node and its witness.
        return httpx.AsyncClient(verify=verify, timeout=TIMEOUT_S, trust_env=False)


def _reason(reply: httpx.Response) -> str:
    try:
        said = reply.json()
        return str(said.get("message") or said.get("error") or reply.status_code)
    except (ValueError, AttributeError):
        return str(reply.status_code)


def _text64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
