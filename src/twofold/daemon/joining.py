"""How this machine becomes a node of an existing cluster: `twofold cluster join`.

Two connections. The first trusts nobody and sends nothing but the question "which authority are
you?"; the answer must have the fingerprint that is in the token. The second verifies the server
against that authority, and only then sends the request for a certificate with the proof that we
know the token's secret. The secret itself never leaves this machine.

The node's key is made once and kept: a join whose answer was lost can be repeated with the same
token. cluster.toml is written last; the daemon notices it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.adapters import pki
from twofold.adapters.control_channel import HANDSHAKE_TIMEOUT_S, close, exchange
from twofold.config.load import NodeConfig, load_node, parse_cluster
from twofold.config.render import node_toml
from twofold.daemon.founding import refuse_if_configured
from twofold.daemon.modules_on_disk import write_module
from twofold.daemon.notify_secrets import FILE
from twofold.errors import NodeUnreachable, OperatorError, PeerRefused
from twofold.wire import control, lines, token
from twofold.wire.files import unpack
from twofold.wire.token import Token

JOIN_TIMEOUT_S = 20.0


def join(
    etc: Path,
    server: str,
    token_text: str,
    node: str,
    addresses: Mapping[str, str],
    port: int = control.PORT,
) -> NodeConfig:
    """Ask `server` to admit this machine as `node`; write what it answers."""
    refuse_if_configured(etc)
    invited = token.decode_token(token_text)
    key = _kept_key(etc / "pki" / "node.key")
    request: dict[str, Any] = {
        "command": "join",
        "token_id": invited.id,
        "node": node,
        "addresses": dict(addresses),
        "csr": pki.create_request(key, node).decode(),
    }
    request["proof"] = token.proof(invited.secret, request)
    reply = asyncio.run(ask(server, port, invited, request))
    _write(etc, node, reply)
    configured = load_node(etc)
    assert configured is not None, "it was just written"
    return configured


def _kept_key(path: Path) -> bytes:
    if not path.exists():
        pki.write_pki(path.parent, {path.name: pki.create_key()})
    return path.read_bytes()


async def ask(server: str, port: int, invited: Token, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(JOIN_TIMEOUT_S):
            ca = await _authority_of(server, port, invited)
            context = _bare_context()
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=ca)
            return await _exchange(server, port, context, request)
    except TimeoutError:
        raise NodeUnreachable(
            f"{server} did not answer within {JOIN_TIMEOUT_S:g} s",
            "Is twofoldd running there, and port 9011 open?",
        ) from None


async def _authority_of(server: str, port: int, invited: Token) -> str:
    context = _bare_context()
    context.verify_mode = ssl.CERT_NONE
    answer = await _exchange(server, port, context, {"command": "ca"})
    ca = str(answer.get("ca", ""))
    if token.fingerprint_of(pki.certificate_der(ca.encode())) != invited.ca_fingerprint:
        raise PeerRefused(
            f"this token is not of the cluster at {server} (another authority answers there)",
            "Check the address; make a token on a node of that cluster: twofold cluster invite",
        )
    return ca


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Any node of the cluster may admit us, and we do not know their names yet.
    context.check_hostname = False
    return context


async def _exchange(
    server: str, port: int, context: ssl.SSLContext, body: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        reader, writer = await asyncio.open_connection(
            server,
            port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            limit=lines.LINE_BYTES_MAX,
        )
    except ssl.SSLCertVerificationError as e:
        raise PeerRefused(
            f"{server} does not prove that it belongs to its cluster ({e.verify_message})",
            "Check its clock and this machine's, and the address.",
        ) from None
    except OSError as e:
        raise NodeUnreachable(
            f"{server} cannot be reached on port {port}: {e.strerror or e}",
            "Is twofoldd running there, and the port open?",
        ) from None
    try:
        return await exchange(reader, writer, 1, body)
    finally:
        await close(writer)


def _write(etc: Path, node: str, reply: Mapping[str, Any]) -> None:
    try:
        text = str(reply["cluster"])
        files = {
            "ca.crt": str(reply["ca"]).encode(),
            "ca.key": str(reply["ca_key"]).encode(),
            "node.crt": str(reply["certificate"]).encode(),
            "heartbeat.key": str(reply["heartbeat_key"]).encode(),
        }
        modules = {str(name): unpack(data) for name, data in reply["modules"].items()}
    except (KeyError, AttributeError):
        raise OperatorError("the answer of the other node is not complete") from None
    parse_cluster(text)
    pki.write_pki(etc / "pki", files)
    for name, module_files in modules.items():
        write_module(etc, name, module_files)
    if reply.get("notify"):
        pki.write_file(etc / FILE, str(reply["notify"]).encode(), 0o600)
    pki.write_file(etc / "node.toml", node_toml(node).encode(), 0o644)
    pki.write_file(etc / "cluster.toml", text.encode(), 0o644)
