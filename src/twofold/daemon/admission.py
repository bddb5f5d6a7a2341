"""How a cluster grows: a token invites one node, and the inviting node's daemon admits it.

`invite` runs in the command (`cluster init`, `cluster invite`), `Admission` in the daemon, and
`twofold.daemon.joining` on the new node.

Invitations are kept in pki/invitations.json until a day after they end, so that a refusal can say
whether a token is unknown, too old or used. A token admits one key: the same node may ask again
with the same key when the answer to its first request was lost; nobody else can use it.

Order of an admission, safe to stop after each step: the nodes that are there already are told, the
token is marked used, cluster.toml is written, the answer is sent. A node that never got its answer
asks again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twofold.adapters import pki
from twofold.config.homes import home_problems
from twofold.config.load import (
    NodeConfig,
    load_module,
    load_node,
    module_files,
    module_names,
    parse_cluster,
)
from twofold.config.render import cluster_toml
from twofold.config.schema import ClusterConfig, ClusterNode
from twofold.config.schema_arbitration import WitnessSection
from twofold.daemon.notify_secrets import FILE
from twofold.errors import PeerRefused
from twofold.wire import token
from twofold.wire.files import pack
from twofold.wire.token import Token
from twofold.wire.witness import subject as witness_subject

INVITATIONS = "invitations.json"
KEPT_AFTER_END_S = 86400.0


@dataclass
class Invitation:
    secret: str  # hex
    ends_at: float  # seconds since 1970
    used_by: str = ""  # the name of the admitted node
    key: str = ""  # the fingerprint of its key


def invite(etc: Path, lifetime_s: float = token.LIFETIME_S) -> str:
    """A new token for one node."""
    fingerprint = token.fingerprint_of(pki.certificate_der((etc / "pki" / "ca.crt").read_bytes()))
    new = Token(secrets.token_bytes(token.SECRET_BYTES), fingerprint)
    invitations = _read_invitations(etc)
    invitations[new.id] = Invitation(new.secret.hex(), time.time() + lifetime_s)
    _write_invitations(etc, invitations)
    return token.encode_token(new)


def _read_invitations(etc: Path) -> dict[str, Invitation]:
    try:
        raw = json.loads((etc / "pki" / INVITATIONS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    kept = {k: Invitation(**v) for k, v in raw.items()}
    return {k: v for k, v in kept.items() if v.ends_at + KEPT_AFTER_END_S > time.time()}


def _write_invitations(etc: Path, invitations: Mapping[str, Invitation]) -> None:
    text = json.dumps({k: vars(v) for k, v in invitations.items()})
    pki.write_pki(etc / "pki", {INVITATIONS: text.encode()})


# --- admission ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JoinRequest:
    node: str
    addresses: dict[str, str]
    csr: bytes

    @staticmethod
    def of(body: Mapping[str, Any]) -> JoinRequest:
        node, csr, addresses = body.get("node"), body.get("csr"), body.get("addresses")
        if not (isinstance(node, str) and isinstance(csr, str) and isinstance(addresses, dict)):
            raise PeerRefused("the join request is not complete")
        pairs = cast(dict[object, object], addresses)
        return JoinRequest(node, {str(k): str(v) for k, v in pairs.items()}, csr.encode())


@dataclass(frozen=True)
class Granted:
    """A request that fits, and all that its admission writes."""

    node: NodeConfig
    request: JoinRequest
    cluster: ClusterConfig  # with the new node
    key: str  # the fingerprint of the newcomer's key
    invitations: dict[str, Invitation]
    invitation: Invitation  # of those, the one that it used


class Admission:
    """Answers callers without a certificate: `ControlChannel(admit=Admission(...).answer)`."""

    def __init__(
        self,
        etc: Path,
        reload: Callable[[], Awaitable[None]],
        tell: Callable[[ClusterConfig], Awaitable[None]] | None = None,
        introduce: Callable[[str, Mapping[str, str]], Awaitable[None]] | None = None,
    ) -> None:
        """`tell` gives the other nodes new witnesses, `introduce` a new node; or raise."""
        self._etc = etc
        self._reload = reload
        self._tell = tell
        self._introduce = introduce
        self._lock = asyncio.Lock()  # two nodes asking at once must not both become the second

    async def answer(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if body.get("command") == "ca":
            return {"ca": (self._etc / "pki" / "ca.crt").read_text("ascii")}
        async with self._lock:
            if body.get("witness") is not None:
                reply, cluster = await asyncio.to_thread(self._enrol, body)
                if self._tell is not None:
                    await self._tell(cluster)
                text = cluster_toml(cluster).encode()
                await asyncio.to_thread(pki.write_file, self._etc / "cluster.toml", text, 0o644)
                await self._reload()
                return reply
            # In a thread: a slow disk must not keep the heartbeats waiting.
            request = (await asyncio.to_thread(self._examined, body)).request
            if self._introduce is not None:
                await self._introduce(request.node, request.addresses)
            reply = await asyncio.to_thread(self._admit, body)
        await self._reload()
        return reply

    def _examined(self, body: Mapping[str, Any]) -> Granted:
        """A request that will be granted; raises for any other, with nothing written."""
        node = load_node(self._etc)
        assert node is not None, "a control channel is only served when configured"
        invitations = _read_invitations(self._etc)
        invitation = _proven_invitation(invitations, body)
        request = JoinRequest.of(body)
        key = pki.key_fingerprint(request.csr)
        refuse_unfit_invitation(invitation, request.node, key)
        cluster = grown_for(self._etc, node.cluster, request.node, request.addresses)
        return Granted(node, request, cluster, key, invitations, invitation)

    def _admit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        # Examined again: the files may have changed while the other nodes were told.
        granted = self._examined(body)
        node, request, cluster = granted.node, granted.request, granted.cluster
        authority = pki.load_authority(node.pki)
        cluster_id = node.cluster.cluster.id
        certificate = pki.sign_request(authority, request.csr, request.node, cluster_id)
        granted.invitation.used_by, granted.invitation.key = request.node, granted.key
        _write_invitations(self._etc, granted.invitations)
        text = cluster_toml(cluster)
        pki.write_file(self._etc / "cluster.toml", text.encode(), 0o644)
        return {
            "certificate": certificate.decode(),
            "ca": authority.certificate.decode(),
            "ca_key": authority.key.decode(),
            "heartbeat_key": (node.pki / "heartbeat.key").read_text("ascii"),
            "cluster": text,
            "notify": _notify_secrets(self._etc),
            "modules": {name: _packed(self._etc, name) for name in module_names(self._etc)},
        }

    def _enrol(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], ClusterConfig]:
        """A witness gets a certificate and no secret of the cluster."""
        node = load_node(self._etc)
        assert node is not None, "a control channel is only served when configured"
        invitations = _read_invitations(self._etc)
        invitation = _proven_invitation(invitations, body)
        request = JoinRequest.of({**body, "addresses": {}})
        key = pki.key_fingerprint(request.csr)
        refuse_unfit_invitation(invitation, request.node, key)
        cluster = with_witness(node.cluster, request.node, str(body["witness"]))
        authority = pki.load_authority(node.pki)
        cluster_id = node.cluster.cluster.id
        name = witness_subject(request.node)
        certificate = pki.sign_request(authority, request.csr, name, cluster_id)
        invitation.used_by, invitation.key = request.node, key
        _write_invitations(self._etc, invitations)
        return {
            "certificate": certificate.decode(),
            "ca": authority.certificate.decode(),
            "cluster": node.cluster.cluster.name,
            "cluster_id": cluster_id,
        }, cluster


def _notify_secrets(etc: Path) -> str:
    file = etc / FILE
    return file.read_text("utf-8") if file.is_file() else ""


def with_witness(cluster: ClusterConfig, name: str, address: str) -> ClusterConfig:
    """The cluster with one more witness; the same one asking again may have moved."""
    kept = tuple(w for w in cluster.witnesses if w.name != name or w.kind != "twofold")
    newcomer = WitnessSection.model_construct(name=name, address=address)
    grown = cluster.model_copy(update={"witnesses": (*kept, newcomer)})
    return parse_cluster(cluster_toml(grown))


def _proven_invitation(
    invitations: Mapping[str, Invitation], body: Mapping[str, Any]
) -> Invitation:
    invitation = invitations.get(str(body.get("token_id")))
    if invitation is None:
        raise PeerRefused(
            "this token is not known here; it was made by another cluster, or long ago",
            "Make a new one on a node of the cluster: twofold cluster invite",
        )
    if not token.proven(bytes.fromhex(invitation.secret), body):
        raise PeerRefused(
            "the join request does not prove that it knows the token",
            "Make a new token: twofold cluster invite",
        )
    return invitation


def refuse_unfit_invitation(invitation: Invitation, node: str, key: str) -> None:
    mend = "Make a new one on a node of the cluster: twofold cluster invite"
    if invitation.ends_at < time.time():
        ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(invitation.ends_at))
        raise PeerRefused(f"this token ended at {ended}", mend)
    if invitation.used_by and (invitation.used_by, invitation.key) != (node, key):
        raise PeerRefused(
            f"this token was used already, by node {invitation.used_by!r}; it admits one node", mend
        )


def with_node(cluster: ClusterConfig, name: str, addresses: Mapping[str, str]) -> ClusterConfig:
    """The cluster with one more node. The same node asking again changes nothing."""
    names = [n.name for n in cluster.nodes]
    networks = [n.name for n in cluster.networks]
    if name in names and dict(cluster.node(name).addresses) == dict(addresses):
        return cluster
    if name in names:
        raise PeerRefused(
            f"there is a node {name!r} in this cluster already",
            "Give this one another name (--name), or remove the old one: twofold cluster remove "
            + name,
        )
    for network in networks:
        if network not in addresses:
            raise PeerRefused(
                f"the new node has no address on network {network!r}",
                f"Give one: --address {network}=ADDRESS",
            )
    # Not validated here: the whole text is, with sentences that fit it.
    newcomer = ClusterNode.model_construct(name=name, addresses=dict(addresses))
    grown = cluster.model_copy(update={"nodes": (*cluster.nodes, newcomer)})
    return parse_cluster(cluster_toml(grown))


def grown_for(
    etc: Path, before: ClusterConfig, newcomer: str, addresses: Mapping[str, str]
) -> ClusterConfig:
    """With the new node. In a cluster of three a mirror must say which two it lives on: before."""
    cluster = with_node(before, newcomer, addresses)
    for name in module_names(etc):
        for problem in home_problems(load_module(etc, name), cluster):
            raise PeerRefused(
                f"module {name!r} is not ready for a node more: {problem.text}",
                f"{problem.mend}, in its module.toml; then: twofold module apply {name}",
            )
    return cluster


def without_node(cluster: ClusterConfig, name: str) -> ClusterConfig:
    kept = tuple(n for n in cluster.nodes if n.name != name)
    return cluster.model_copy(update={"nodes": kept})


def _packed(etc: Path, name: str) -> dict[str, Any]:
    return pack(module_files(load_module(etc, name).directory))
