"""Node to witness, TCP 9013: one claim, compare and set, and the question whether it is there.

Frame: `twofold.wire.lines` over mutual TLS 1.3, many requests on one connection. A witness serves
many clusters: the client names it `NAME.witness.CLUSTER_UUID.twofold` (SNI), so the witness knows
by which authority both sides are verified. The caller's node is in its certificate.

    {"id": 1, "version": 1, "command": "claim", "module": "files", "term": 3}
    {"id": 1, "ok": true, "won": false, "term": 3, "holder": "b"}
    {"id": 2, "version": 1, "command": "look"}
    {"id": 2, "ok": true}

When half of its certificate's life is over a witness asks whoever looks for a new one:

    {"id": 3, "ok": true, "csr": "PEM"}
    {"id": 4, "version": 1, "command": "renew", "certificate": "PEM", "ca": "PEM"}
    {"id": 4, "ok": true}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from twofold.errors import PeerRefused
from twofold.machine.arbitration import Answer, Claim

PORT = 9013
VERSION = 1
LINE_BYTES_MAX = 4096
TERM_MAX = 1 << 40
IDLE_S = 60.0  # a connection on which nothing is asked for so long is ended
_SUFFIX = "twofold"
_MODULE = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def witness_name(name: str, cluster_id: str) -> str:
    return f"{subject(name)}.{cluster_id}.{_SUFFIX}"


def subject(name: str) -> str:
    """No node can have this name, so a witness's key opens nothing else."""
    return f"{name}.witness"


def cluster_of(server_name: str | None) -> str | None:
    """The cluster that a client means; None for what is no witness's name."""
    parts = (server_name or "").split(".")
    if len(parts) != 4 or parts[1] != "witness" or parts[3] != _SUFFIX:
        return None
    return parts[2] if re.fullmatch(r"[0-9a-f-]{36}", parts[2]) else None


def claim_body(module: str, term: int) -> dict[str, Any]:
    return {"command": "claim", "module": module, "term": term, "version": VERSION}


def look_body() -> dict[str, Any]:
    return {"command": "look", "version": VERSION}


def renew_body(certificate: bytes, ca: bytes) -> dict[str, Any]:
    texts = {"certificate": certificate.decode(), "ca": ca.decode()}
    return {"command": "renew", **texts, "version": VERSION}


def claim_from(body: Mapping[str, Any], node: str) -> tuple[str, Claim]:
    """(module, claim) of a request; raises `PeerRefused` for what is none."""
    module, term = body.get("module"), body.get("term")
    if not isinstance(module, str) or _MODULE.fullmatch(module) is None:
        raise PeerRefused("a claim for something that is no module's name was received")
    if not isinstance(term, int) or isinstance(term, bool) or not 1 <= term <= TERM_MAX:
        raise PeerRefused("a claim of an impossible term was received")
    return module, Claim(term, node)


def answer_fields(answer: Answer) -> dict[str, Any]:
    return {"won": answer.won, "term": answer.stored.term, "holder": answer.stored.holder}


def answer_from(fields: Mapping[str, Any]) -> Answer:
    won, term, holder = fields.get("won"), fields.get("term"), fields.get("holder")
    if not (isinstance(won, bool) and isinstance(term, int) and isinstance(holder, str)):
        raise PeerRefused("an answer of the witness that cannot be read was received")
    return Answer(won, Claim(term, holder))


def check_version(body: Mapping[str, Any]) -> None:
    if body.get("version") != VERSION:
        raise PeerRefused(
            f"the caller speaks witness protocol {body.get('version')}, this one {VERSION}",
            "Install the same version of Twofold on nodes and witness.",
        )
