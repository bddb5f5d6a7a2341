"""Passwords and API tokens: made, hashed, compared.

A password is hashed with argon2id (RFC 9106's second recommendation: 64 MiB, three passes) by the
process that was given it; only the hash goes any further. A token is 256 random bits, so a plain
SHA-256 of it is enough to keep, and costs nothing to compare.

    tf_ID_SECRET        ID names the token in lists, SECRET is shown once
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from twofold.errors import OperatorError

LENGTH_MIN, LENGTH_MAX = 10, 200
TOKEN_PREFIX = "tf"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
# Compared with when there is no such user, so that the answer takes as long.
NOBODY = _hasher.hash(secrets.token_hex(16))


@dataclass(frozen=True)
class NewToken:
    id: str
    text: str  # what the person gets, once
    digest: str  # what is kept


def generate() -> str:
    """A password for a person to type: five groups of four, 99 bits."""
    groups = ["".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(5)]
    return "-".join(groups)


def check_strength(password: str, name: str = "") -> None:
    if len(password) < LENGTH_MIN:
        raise OperatorError(
            f"the password has {len(password)} characters, fewer than {LENGTH_MIN}",
            "A few words in a row are easy to remember and hard to guess.",
        )
    if len(password) > LENGTH_MAX:
        raise OperatorError(f"the password is longer than {LENGTH_MAX} characters")
    if name and name in password.lower():
        raise OperatorError("the password has the user's name in it", "Choose another.")
    if len(set(password)) < 4:
        raise OperatorError("the password is the same few characters again", "Choose another.")


def hashed(password: str) -> str:
    return _hasher.hash(password)


def is_right(digest: str, password: str) -> bool:
    """Takes some 100 ms and 64 MiB, on purpose."""
    try:
        return _hasher.verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False


def new_token() -> NewToken:
    identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    text = f"{TOKEN_PREFIX}_{identity}_{secret}"
    return NewToken(identity, text, token_digest(text))


def token_id(text: str) -> str:
    """The ID in a token's text; "" when it is none."""
    parts = text.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == TOKEN_PREFIX else ""


def token_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(one.encode(), other.encode())
