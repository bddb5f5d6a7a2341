"""`twofold witness join`: how a witness becomes known to a cluster, as a node does.

The same token, the same two connections (see `twofold.daemon.joining`), but the witness gets a
certificate and no secret: with its key nobody can be a node, read data or send heartbeats. The
node that admits it writes its address into cluster.toml on all nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.adapters import pki
from twofold.config.values import NAME_PATTERN
from twofold.daemon.joining import ask
from twofold.errors import OperatorError, PeerRefused
from twofold.wire import control, token
from twofold.witness.places import ABOUT, Enrolled, about

_KEY = "new.key"  # kept until the answer is there: a lost answer can be asked for again


def enrol(
    keys: Path, server: str, token_text: str, name: str, address: str, port: int = control.PORT
) -> Enrolled:
    """Ask a node to take this witness; write what it answers."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise OperatorError(
            f"{name!r} cannot be a witness's name",
            "Use 1 to 32 of a-z, 0-9 and -: --name w1",
        )
    invited = token.decode_token(token_text)
    kept = keys / f"{invited.id}.{_KEY}"
    if not kept.exists():
        pki.write_pki(kept.parent, {kept.name: pki.create_key()})
    key = kept.read_bytes()
    request: dict[str, Any] = {
        "command": "join",
        "token_id": invited.id,
        "node": name,
        "witness": address,
        "csr": pki.create_request(key, name).decode(),
    }
    request["proof"] = token.proof(invited.secret, request)
    reply = asyncio.run(ask(server, port, invited, request))
    enrolled = _written(keys, key, name, address, reply)
    kept.unlink(missing_ok=True)
    return enrolled


def _written(keys: Path, key: bytes, name: str, address: str, reply: Mapping[str, Any]) -> Enrolled:
    try:
        enrolled = Enrolled(str(reply["cluster_id"]), str(reply["cluster"]), name, address)
        files = {
            "ca.crt": str(reply["ca"]).encode(),
            "witness.key": key,
            ABOUT: about(enrolled),
            "witness.crt": str(reply["certificate"]).encode(),  # last: the service looks for it
        }
    except KeyError:
        raise PeerRefused(
            "the node does not know how to take a witness",
            "Install the same version of Twofold on nodes and witness.",
        ) from None
    pki.write_pki(keys / enrolled.cluster_id, files)
    return enrolled
