"""Who is logged in at this node's web process. In memory: a restart asks everybody to log in again.

A session is known by 256 random bits in a cookie; kept is only their digest. It ends after two
hours without use and after twelve hours in any case, with a logout, with a new password, and with
the user. Each has a second secret against forged requests (CSRF), which a page sends in a header.
A user has at most ten sessions, the oldest makes room.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from twofold.config.users import Users
from twofold.wire.roles import Role

COOKIE = "__Host-twofold"  # the prefix makes browsers insist on Secure, Path=/ and no Domain
IDLE_S = 2 * 3600.0
WHOLE_S = 12 * 3600.0
SESSIONS_MAX = 2_000
OF_ONE_USER_MAX = 10


@dataclass
class Session:
    name: str
    address: str
    csrf: str
    begun_s: float
    used_s: float


@dataclass(frozen=True)
class Who:
    """Somebody who is known, for one request."""

    name: str
    role: Role
    address: str
    via: str  # "session", or "token ID"
    csrf: str = ""
    token: str | None = None
    session: str | None = None  # the cookie, to end it

    def as_user(self) -> dict[str, str | None]:
        """What the daemon is told."""
        return {"name": self.name, "from": self.address, "via": self.via, "token": self.token}


class Sessions:
    def __init__(self) -> None:
        self._kept: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, name: str, address: str, now_s: float) -> tuple[str, Session]:
        """(cookie, session)"""
        self._forget_ended(now_s)
        own = [k for k, s in self._kept.items() if s.name == name]
        for key in own[: len(own) + 1 - OF_ONE_USER_MAX]:
            del self._kept[key]
        if len(self._kept) >= SESSIONS_MAX:
            del self._kept[next(iter(self._kept))]
        cookie = secrets.token_urlsafe(32)
        session = Session(name, address, secrets.token_urlsafe(32), now_s, now_s)
        self._kept[_digest(cookie)] = session
        return cookie, session

    def who(
        self, cookie: str, address: str, users: Users, now_s: float, used: bool = True
    ) -> Who | None:
        """Whose cookie this is, while the session lasts. `used` lengthens it."""
        session = self._kept.get(_digest(cookie))
        if session is None:
            return None
        user = users.find(session.name)
        if user is None or _ended(session, now_s) or user.password_at > session.begun_s:
            self.end(cookie)
            return None
        if used:
            session.used_s = now_s
        return Who(user.name, user.role, address, "session", session.csrf, session=cookie)

    def end(self, cookie: str) -> None:
        self._kept.pop(_digest(cookie), None)

    def _forget_ended(self, now_s: float) -> None:
        for key in [k for k, s in self._kept.items() if _ended(s, now_s)]:
            del self._kept[key]


def _ended(session: Session, now_s: float) -> bool:
    return now_s - session.used_s > IDLE_S or now_s - session.begun_s > WHOLE_S


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
