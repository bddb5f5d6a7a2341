"""The witness's certificate is made anew by the cluster, before it ends.

A witness cannot sign; a node that looks at it can. So it answers a look with a request while half
of its certificate's life is over, and takes what comes back only when it is better than what it
has: for its own key and name, of the authority that it knows, and with a later end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from twofold.adapters import pki
from twofold.errors import PeerRefused


def wanted(directory: Path) -> dict[str, Any]:
    """The answer to a look."""
    if time.time() <= pki.half_spent_at_s((directory / "witness.crt").read_bytes()):
        return {}
    key = (directory / "witness.key").read_bytes()
    return {"csr": pki.create_request(key, "witness").decode()}


def take(directory: Path, body: Mapping[str, Any]) -> None:
    """Raises `PeerRefused` with nothing written."""
    known, authority = (_read((directory / n).read_bytes()) for n in ("witness.crt", "ca.crt"))
    files = {
        n: str(body.get(f)).encode() for n, f in (("ca.crt", "ca"), ("witness.crt", "certificate"))
    }
    new, ca = _read(files["witness.crt"]), _read(files["ca.crt"])
    try:
        new.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise PeerRefused("a certificate that its authority did not sign was refused") from None
    same_key = new.public_key() == known.public_key() and ca.public_key() == authority.public_key()
    same_name = _names(new) == _names(known) and ca.subject == authority.subject
    if not (same_key and same_name):
        raise PeerRefused("a certificate for another key or name was refused")
    if new.not_valid_after_utc <= known.not_valid_after_utc:
        raise PeerRefused("a certificate that ends no later was refused")
    if ca.not_valid_after_utc < authority.not_valid_after_utc:
        del files["ca.crt"]
    pki.write_pki(directory, files)  # the certificate last: the service looks for it


def _read(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise PeerRefused("what was received is not a certificate") from None


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)
