"""Who somebody is: by password, by session, or by token.

The users are read from users.json, which the daemon keeps and this process may read, so that a
login costs the daemon nothing and works while it is down. Comparing a password takes 100 ms and 64
MiB on purpose, so only two are compared at a time and only a few may wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from twofold import passwords
from twofold.config.users import FILE, Users, parse_users
from twofold.errors import ConfigError, OperatorError, TwofoldError
from twofold.web.daemon_link import Busy, Link
from twofold.web.sessions import Session, Sessions, Who
from twofold.web.throttle import Throttle
from twofold.wire.roles import lower

COMPARED_AT_ONCE = 2
COMPARISONS_WAITING_MAX = 16
log = logging.getLogger("twofold.web")


class LoginRefused(OperatorError):
    """Wrong, and not told what of it."""

    code = "login_refused"


class TooSoon(OperatorError):
    """Too many failures; `wait_s` says for how long nothing is listened to."""

    code = "too_many_attempts"

    def __init__(self, sentence: str = "", mend: str = "", wait_s: float = 1.0) -> None:
        super().__init__(sentence, mend)
        self.wait_s = wait_s


class People:
    def __init__(self, etc: Path, link: Link) -> None:
        self._file = etc / FILE
        self._link = link
        self._known: tuple[int, Users] = (0, Users())
        self.sessions = Sessions()
        self._throttle = Throttle()
        self._comparing = asyncio.Semaphore(COMPARED_AT_ONCE)
        self._waiting = 0
        self.failures = 0  # for /metrics

    def users(self) -> Users:
        """As they are now; the last good ones while the file cannot be read."""
        try:
            stamp = self._file.stat().st_mtime_ns
            if stamp != self._known[0]:
                self._known = (stamp, parse_users(self._file.read_text("utf-8")))
        except FileNotFoundError:
            return Users()
        except (OSError, UnicodeDecodeError, ConfigError) as e:
            log.error("%s cannot be read: %s", self._file, e)
        return self._known[1]

    async def login(self, name: str, password: str, address: str) -> tuple[str, Session]:
        """(cookie, session), or a refusal that does not say whether there is such a user."""
        now_s = time.time()
        wait_s = self._throttle.wait_s(address, name, now_s)
        if wait_s > 0:
            raise TooSoon(
                "too many attempts failed", f"Try again in {max(1, round(wait_s))} s.", wait_s
            )
        # Counted before it is compared: many at once must not all be listened to.
        self._throttle.failed(address, name, now_s)
        user = self.users().find(name)
        right = await self._compared(user.password if user else passwords.NOBODY, password)
        if user is None or not right:
            self.failures += 1
            await self._note(name, address, "login", "refused")
            raise LoginRefused("the name or the password is wrong")
        self._throttle.succeeded(address, name)
        cookie, session = self.sessions.begin(name, address, time.time())
        await self._note(name, address, "login", "accepted")
        return cookie, session

    async def _compared(self, digest: str, password: str) -> bool:
        if self._waiting >= COMPARISONS_WAITING_MAX:
            raise Busy("too many people log in at this moment", "Try again in a few seconds.")
        self._waiting += 1
        try:
            async with self._comparing:
                text = password[: passwords.LENGTH_MAX + 1]
                return await asyncio.to_thread(passwords.is_right, digest, text)
        finally:
            self._waiting -= 1

    async def is_password_of(self, who: Who, password: str) -> bool:
        """Asked again before somebody changes their own."""
        user = self.users().get(who.name)
        wait_s = self._throttle.wait_s(who.address, who.name, time.time())
        if wait_s > 0:
            raise TooSoon("too many attempts failed", "Try again later.", wait_s)
        right = await self._compared(user.password, password)
        if not right:
            self._throttle.failed(who.address, who.name, time.time())
        return right

    def by_cookie(self, cookie: str, address: str, used: bool = True) -> Who | None:
        return self.sessions.who(cookie, address, self.users(), time.time(), used)

    def by_token(self, text: str, address: str) -> Who | None:
        found = self.users().token(passwords.token_id(text))
        if found is None:
            return None
        user, token = found
        if not passwords.same(passwords.token_digest(text), token.digest):
            return None
        if token.ends_at is not None and token.ends_at < time.time():
            return None
        role = lower(user.role, token.role)
        return Who(user.name, role, address, f"token {token.id}", token=token.id)

    def still(self, who: Who) -> Who | None:
        """The same person now: a page that stays open must notice an end, or another role."""
        if who.session is None:
            return None
        return self.by_cookie(who.session, who.address, used=False)

    async def logout(self, who: Who) -> None:
        if who.session is not None:
            self.sessions.end(who.session)
            await self._note(who.name, who.address, "logout", "accepted")

    async def _note(self, name: str, address: str, what: str, result: str) -> None:
        record = {"who": name, "source": address, "via": "password", "what": what, "result": result}
        try:
            await self._link.ask("audit_note", timeout_s=2.0, **record)
        except TwofoldError:
            log.warning("%s of %r from %s: %s (the daemon could not be told)",
                        what, name, address, result)  # fmt: skip
