"""Keys of a cluster and its witness, made as enrolment makes them."""

from __future__ import annotations

import uuid
from pathlib import Path

from twofold.adapters import pki
from twofold.wire.witness import subject


class ClusterKeys:
    def __init__(self, root: Path, witness_keys: Path, witness: str = "w1") -> None:
        self.id = str(uuid.uuid4())
        self.root = root / self.id
        self._authority = pki.create_authority(self.id)
        self.renew_nodes()
        self._write(witness_keys / self.id, "witness", subject(witness))

    def pki(self, node: str) -> Path:
        return self.root / node

    def renew_nodes(self) -> None:
        for node in ("a", "b"):
            self._write(self.root / node, "node", node)

    def sign_for_witness(self, name: str, request: bytes) -> tuple[bytes, bytes]:
        """As `twofold.daemon.keys` does it."""
        signed = pki.sign_request(self._authority, request, subject(name), self.id)
        return signed, self._authority.certificate

    def _write(self, directory: Path, file: str, name: str) -> None:
        key = pki.create_key()
        request = pki.create_request(key, name)
        files = {
            "ca.crt": self._authority.certificate,
            f"{file}.key": key,
            f"{file}.crt": pki.sign_request(self._authority, request, name, self.id),
        }
        pki.write_pki(directory, files)
