"""users.json: who may use the console and the API. Equal on all nodes, newest version wins.

Passwords are argon2id hashes, tokens SHA-256 hashes; nothing in it can be typed in anywhere. Every
change makes a new version. When two nodes that did not hear each other both changed it, the higher
version wins, of two equal ones the one with the greater digest: both nodes choose the same.
There is always an administrator: the last one can be neither removed nor made less.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from twofold.config.load import nearest
from twofold.errors import CommandRefused, ConfigError

FILE = "users.json"
USERS_MAX, TOKENS_MAX = 200, 50
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_HASH = re.compile(r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")

RoleName = Literal["monitor", "control", "admin"]


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} is not a user's name; use 1 to 32 of a-z, 0-9, '.', '_' and -, "
            "beginning with a letter"
        )
    return value


def _hash(value: str) -> str:
    if len(value) > 300 or _HASH.fullmatch(value) is None:
        raise ValueError("that is not an argon2id hash")
    return value


def _digest(value: str) -> str:
    if _DIGEST.fullmatch(value) is None:
        raise ValueError("that is not a token's digest")
    return value


UserName = Annotated[str, AfterValidator(_name)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Token(_Part):
    """A key for a program: as its user, but never with more than `role`."""

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    label: str = Field(max_length=80)
    digest: Annotated[str, AfterValidator(_digest)]
    role: RoleName
    created_at: float
    ends_at: float | None = None


class User(_Part):
    name: UserName
    role: RoleName
    password: Annotated[str, AfterValidator(_hash)]
    tokens: tuple[Token, ...] = Field(default=(), max_length=TOKENS_MAX)
    password_at: float = 0.0  # sessions from before are ended


class Users(_Part):
    version: int = Field(default=0, ge=0)
    changed_at: float = 0.0
    users: tuple[User, ...] = Field(default=(), max_length=USERS_MAX)

    def find(self, name: str) -> User | None:
        return next((u for u in self.users if u.name == name), None)

    def get(self, name: str) -> User:
        found = self.find(name)
        if found is None:
            raise CommandRefused(
                f"there is no user {name!r}",
                nearest(name, [u.name for u in self.users]) or "See: twofold user list",
            )
        return found

    def token(self, identity: str) -> tuple[User, Token] | None:
        return next(((u, t) for u in self.users for t in u.tokens if t.id == identity), None)


def parse_users(text: str) -> Users:
    try:
        return Users.model_validate_json(text)
    except ValidationError as e:
        raise ConfigError(f"{FILE}: {_complaint(e)}", "Copy it from the other node.") from None


def users_text(users: Users) -> str:
    return users.model_dump_json(indent=1) + "\n"


def is_newer(one: Users, other: Users) -> bool:
    """Whether `one` takes the place of `other`."""
    return (one.version, _order(one)) > (other.version, _order(other))


def _order(users: Users) -> str:
    return hashlib.sha256(users_text(users).encode()).hexdigest()


# --- changes: each one a new version ------------------------------------------------------------


def with_user(users: Users, name: str, role: str, password: str, now: float) -> Users:
    if users.find(name) is not None:
        raise CommandRefused(
            f"there is a user {name!r} already", f"A new password: twofold user password {name}"
        )
    if len(users.users) >= USERS_MAX:
        raise CommandRefused(f"there are {USERS_MAX} users already", "Remove one first.")
    user = _user(name=name, role=role, password=password, password_at=now)
    return _changed(users, (*users.users, user), now)


def with_role(users: Users, name: str, role: str, now: float) -> Users:
    user = users.get(name)
    return _replaced(users, _user(**{**user.__dict__, "role": role}), now)


def with_password(users: Users, name: str, password: str, now: float) -> Users:
    user = users.get(name)
    new = _user(**{**user.__dict__, "password": password, "password_at": now})
    return _replaced(users, new, now)


def without_user(users: Users, name: str, now: float) -> Users:
    users.get(name)
    return _changed(users, tuple(u for u in users.users if u.name != name), now)


def with_token(users: Users, name: str, token: dict[str, object], now: float) -> Users:
    user = users.get(name)
    if len(user.tokens) >= TOKENS_MAX:
        raise CommandRefused(f"{name} has {TOKENS_MAX} tokens already", "Remove one first.")
    try:
        new = Token.model_validate({**token, "created_at": now})
    except ValidationError as e:
        raise CommandRefused(f"that token is not possible: {_complaint(e)}") from None
    if users.token(new.id) is not None:
        raise CommandRefused(f"there is a token {new.id} already")
    return _replaced(users, user.model_copy(update={"tokens": (*user.tokens, new)}), now)


def without_token(users: Users, name: str, identity: str, now: float) -> Users:
    user = users.get(name)
    kept = tuple(t for t in user.tokens if t.id != identity)
    if len(kept) == len(user.tokens):
        raise CommandRefused(
            f"{name} has no token {identity!r}", f"See: twofold user token list {name}"
        )
    return _replaced(users, user.model_copy(update={"tokens": kept}), now)


def _user(**fields: object) -> User:
    try:
        return User.model_validate(fields)
    except ValidationError as e:
        raise CommandRefused(_complaint(e)) from None


def _replaced(users: Users, user: User, now: float) -> Users:
    return _changed(users, tuple(user if u.name == user.name else u for u in users.users), now)


def _changed(users: Users, new: tuple[User, ...], now: float) -> Users:
    if not any(u.role == "admin" for u in new):
        raise CommandRefused(
            "no administrator would be left", "Make another user administrator first."
        )
    return Users(version=users.version + 1, changed_at=now, users=new)


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(p) for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return message if first["type"] == "value_error" else f"{where}: {message}"
