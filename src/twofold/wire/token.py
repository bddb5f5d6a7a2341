"""The token that admits one new node: a secret and the fingerprint of the cluster's CA.

Text: 48 base32 characters in lower case, in six groups. Bytes: version (1), secret (10), the first
16 bytes of the SHA-256 of the CA certificate (DER), and 3 check bytes against typing errors. The
new node needs both halves: with the fingerprint it knows that it talks to the right cluster before
it says anything; with the secret it proves that it was invited, by a keyed hash of its request.
The secret itself never travels.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from twofold.errors import OperatorError

VERSION = 1
SECRET_BYTES = 10
FINGERPRINT_BYTES = 16
CHECK_BYTES = 3
LIFETIME_S = 3600.0


@dataclass(frozen=True)
class Token:
    secret: bytes
    ca_fingerprint: bytes

    @property
    def id(self) -> str:
        """Says which token is meant, without saying the secret."""
        return hashlib.blake2b(self.secret, digest_size=8, person=b"twofold-tokenid").hexdigest()


def encode_token(token: Token) -> str:
    body = bytes([VERSION]) + token.secret + token.ca_fingerprint
    text = base64.b32encode(body + _check(body)).decode().lower()
    return "-".join(text[i : i + 8] for i in range(0, len(text), 8))


def decode_token(text: str) -> Token:
    """Raises `OperatorError` for a mistyped token."""
    wrong = OperatorError(
        "this is not a whole join token (a character is wrong or missing)",
        "Copy it again from the output of cluster init or cluster invite.",
    )
    try:
        raw = base64.b32decode("".join(text.split()).replace("-", "").upper())
    except (binascii.Error, ValueError):
        raise wrong from None
    body, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
    if len(body) != 1 + SECRET_BYTES + FINGERPRINT_BYTES or not hmac.compare_digest(
        check, _check(body)
    ):
        raise wrong
    if body[0] != VERSION:
        raise OperatorError(
            f"this token has version {body[0]}, this Twofold knows version {VERSION}",
            "Install the same version of Twofold on both nodes.",
        )
    return Token(body[1 : 1 + SECRET_BYTES], body[1 + SECRET_BYTES :])


def fingerprint_of(ca_der: bytes) -> bytes:
    return hashlib.sha256(ca_der).digest()[:FINGERPRINT_BYTES]


def proof(secret: bytes, request: Mapping[str, object]) -> str:
    """The keyed hash over all of a join request except `proof` itself."""
    fields = {k: v for k, v in request.items() if k != "proof"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hmac.new(secret, b"twofold-join\0" + text.encode(), hashlib.sha256).hexdigest()


def proven(secret: bytes, request: Mapping[str, object]) -> bool:
    given = request.get("proof")
    return isinstance(given, str) and hmac.compare_digest(
        given.encode(), proof(secret, request).encode()
    )


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"twofold-token" + body).digest()[:CHECK_BYTES]
