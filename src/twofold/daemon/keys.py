"""Keys that change while the pair runs: the heartbeat key, and each node's key and certificate.

The heartbeat key changes in three steps, each on all nodes before the next: the new key is also
*heard*, then it is *said*, then the old one is *forgotten*. Whatever is said is understood between
any two steps, so it may stop anywhere and be done again. heartbeat.key has one key on each line:
the first is said, all are heard.

A node's certificate is made anew by the node itself, which has the authority: with its old key when
half of its life is over, with a new key when a person rotates. So is the authority's certificate,
with its one key; see `twofold.adapters.pki`. What is new is shown from the next connection on, by
control channel and engine. A witness has no authority: the node that looks at it signs for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from twofold.adapters import pki
from twofold.config.load import NodeConfig
from twofold.daemon.membership import configured
from twofold.errors import CommandRefused, MachineError, NodeUnreachable, TwofoldError
from twofold.ports import ClockPort
from twofold.wire.witness import subject as witness_subject

Body = Mapping[str, Any]
Answer = dict[str, Any]
Ask = Callable[[NodeConfig, str, Body], Awaitable[Body]]

LOOK_EVERY_S = 3600.0
LOOKS_LEFT = 20  # the nearer the end, the more often
KEYS_MAX = 4
STEPS = ("hear", "say", "forget")
BACK_WITHIN_S = 30.0
POLL_S = 0.5


class Keys:
    def __init__(
        self, etc: Path, ask: Ask, clock: ClockPort, note: Callable[[str, str, str], None]
    ) -> None:
        self._etc = etc
        self._ask = ask
        self._clock = clock
        self._note = note
        self._lock = asyncio.Lock()
        self.trouble = ""  # why what ends soon cannot be renewed
        self.replacing = 0  # writes whose certificate is on disk, or soon is, and not in use yet
        self.use_heartbeat_keys: Callable[[Sequence[bytes]], None] = lambda keys: None
        self.use_certificate: Callable[[], None] = lambda: None
        self.local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "cluster_rotate_keys": self._rotate,
        }
        self.peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_heartbeat_key": self._peer_heartbeat_key,
            "peer_new_key": self._peer_new_key,
        }

    # --- certificates -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; says once when it cannot renew what ends soon."""
        while True:
            try:
                with self._replacing():
                    if await asyncio.to_thread(self.renew_in_time):
                        self.use_certificate()
                self.trouble = ""
            except (TwofoldError, OSError, ValueError) as e:
                if not self.trouble:
                    self._note(f"a certificate of this node cannot be renewed: {e}", "alarm",
                               "certificate.ends")  # fmt: skip
                self.trouble = str(e)
            await self._clock.sleep(self._next_look_s())

    def _next_look_s(self) -> float:
        try:
            certificate = (self._etc / "pki" / "node.crt").read_bytes()
            left_s = pki.expires_in_days(certificate, self._clock.wall_s()) * pki.DAY_S
        except (OSError, ValueError):
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(1.0, left_s / LOOKS_LEFT))

    def renew_in_time(self) -> bool:
        """True when there is a new certificate."""
        node, now_s = configured(self._etc), self._clock.wall_s()
        renewed: list[str] = []
        if now_s > pki.half_spent_at_s((node.pki / "ca.crt").read_bytes()):
            authority = pki.load_authority(node.pki)
            new = pki.renewed_authority(authority, node.cluster.cluster.id)
            renewed.append(self._renewed(node, "ca.crt", new.certificate))
        if now_s > pki.half_spent_at_s((node.pki / "node.crt").read_bytes()):
            signed = self._signed(node, (node.pki / "node.key").read_bytes())
            renewed.append(self._renewed(node, "node.crt", signed))
        for sentence in renewed:
            self._note(sentence, "info", "certificate.renewed")
        return bool(renewed)

    def _renewed(self, node: NodeConfig, name: str, certificate: bytes) -> str:
        pki.write_pki(node.pki, {name: certificate})  # one file: the old or the new one
        days = pki.expires_in_days(certificate, self._clock.wall_s())
        whose = {"ca.crt": "the authority's", "node.crt": "the node's"}[name]
        return f"{whose} certificate is renewed, it ends in {days:.0f} days"

    def sign_for_witness(self, name: str, request: bytes) -> tuple[bytes, bytes]:
        """(certificate, the authority's certificate) for a witness of this cluster."""
        node = configured(self._etc)
        authority = pki.load_authority(node.pki)
        cluster_id = node.cluster.cluster.id
        signed = pki.sign_request(authority, request, witness_subject(name), cluster_id)
        return signed, authority.certificate

    def _signed(self, node: NodeConfig, key: bytes) -> bytes:
        authority = pki.load_authority(node.pki)
        request = pki.create_request(key, node.name)
        return pki.sign_request(authority, request, node.name, node.cluster.cluster.id)

    async def _peer_new_key(self, caller: str, body: Body) -> Answer:
        node = configured(self._etc)
        key = pki.create_key()
        with self._replacing():
            await asyncio.to_thread(pki.write_key_pair, node.pki, key, self._signed(node, key))
            self.use_certificate()
        return {}

    @contextlib.contextmanager
    def _replacing(self) -> Generator[None]:
        self.replacing += 1
        try:
            yield
        finally:
            self.replacing -= 1

    # --- rotation ---------------------------------------------------------------------------------

    async def _rotate(self, body: Body) -> Answer:
        """Heartbeat key and all nodes' keys; every node must be there."""
        async with self._lock:
            node = configured(self._etc)
            names = [n.name for n in node.cluster.nodes]
            await self._all(node, names, {"command": "peer_files"}, "nothing was changed")
            new = pki.create_heartbeat_key().decode().strip()
            for step in STEPS:
                asked = {"command": "peer_heartbeat_key", "step": step, "key": new}
                await self._all(node, names, asked, "the old and the new key are both understood")
            for name in [*(n for n in names if n != node.name), node.name]:
                await self._ask(node, name, {"command": "peer_new_key"})
                if name != node.name:
                    await self._back(node, name)
            sentence = f"the keys of {' and '.join(names)} were replaced"
            self._note(sentence, "info", "keys.rotated")
            return {"nodes": names, "sentence": sentence}

    async def _all(
        self, node: NodeConfig, names: Sequence[str], body: Body, meanwhile: str
    ) -> None:
        for name in names:
            try:
                await self._ask(node, name, body)
            except NodeUnreachable as e:
                raise CommandRefused(
                    f"node {name} cannot be reached ({e.sentence}); {meanwhile}",
                    "When it is back: twofold cluster rotate-keys",
                ) from None

    async def _back(self, node: NodeConfig, name: str) -> None:
        """It listens again, with its new certificate."""
        ends_s = self._clock.monotonic_s() + BACK_WITHIN_S
        while True:
            await self._clock.sleep(POLL_S)
            try:
                await self._ask(node, name, {"command": "peer_files"})
                return
            except TwofoldError as e:
                if self._clock.monotonic_s() > ends_s:
                    raise CommandRefused(
                        f"node {name} does not come back with its new key: {e.sentence}",
                        f"Look there: journalctl -u twofoldd. {node.name} keeps its old key.",
                    ) from None

    async def _peer_heartbeat_key(self, caller: str, body: Body) -> Answer:
        node, step, key = configured(self._etc), str(body.get("step")), str(body.get("key"))
        keys = [k.hex() for k in pki.load_heartbeat_keys(node.pki)]
        keys = stepped(keys, step, key)
        text = "".join(f"{k}\n" for k in keys)
        await asyncio.to_thread(pki.write_pki, node.pki, {"heartbeat.key": text.encode()})
        self.use_heartbeat_keys(pki.load_heartbeat_keys(node.pki))
        return {}


def stepped(keys: Sequence[str], step: str, key: str) -> list[str]:
    """The keys after one step; the first is said. Every step may be done twice."""
    try:
        long_enough = len(bytes.fromhex(key)) == pki.HEARTBEAT_KEY_BYTES
    except ValueError:
        long_enough = False
    if not long_enough:
        raise MachineError("what was received is not a heartbeat key")
    others = [k for k in keys if k != key]
    if step == "hear":
        return [*others[:1], key, *others[1:]][:KEYS_MAX] if others else [key]
    if step == "say" and key in keys:
        return [key, *others]
    if step == "forget" and keys[0] == key:
        return [key]
    raise CommandRefused(f"the heartbeat key cannot be changed now (step {step!r})")


def expiry(etc: Path) -> Answer:
    """For `cluster state` and the snapshot: dates, never keys."""
    now_s = time.time()
    found: Answer = {}
    for name in ("node.crt", "ca.crt"):
        try:
            content = (etc / "pki" / name).read_bytes()
            found[name] = round(pki.expires_in_days(content, now_s), 1)
        except (OSError, ValueError):
            found[name] = None
    return found
