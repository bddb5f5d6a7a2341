"""The gate at the local socket: who speaks, what they may say, and the audit of it.

The kernel says which user of the machine is at the other end. Root and the members of the group
`twofold` own the machine and may say everything. The web process is neither: it speaks for a
person whom it has authenticated, and names them in `as_user`. Their role is looked up here, in
users.json, and not taken from the web process. So a mistake in the web process cannot lend a
right; one that was taken over could still pretend to be any user, and docs/security.md says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from twofold.config.users import Users
from twofold.daemon.audit import Audit, Record
from twofold.errors import TwofoldError
from twofold.wire import roles
from twofold.wire.roles import NotPermitted

TEXT_MAX = 200


@dataclass(frozen=True)
class Speaker:
    """Whose command it is, for the journal and the audit."""

    name: str
    source: str = "this node"
    via: str = "command line"


class Gate:
    """`LocalSocket(..., gate=Gate(...))`: `admit` before a command, `note` after it."""

    def __init__(self, users: Callable[[], Users], audit: Audit) -> None:
        self._users = users
        self._audit = audit

    def admit(self, caller: str, body: dict[str, Any]) -> Speaker:
        """Takes `as_user` out of the body; raises `NotPermitted`."""
        said: object = body.pop("as_user", None)
        if said is None and caller != roles.WEB_USER:
            return Speaker(caller)
        if said is None:
            roles.check(body, "", roles.MONITOR)
            return Speaker("the web process", via="web process")
        speaker, role, by_token = self._person(said)
        try:
            roles.check(body, speaker.name, role, by_token)
        except NotPermitted as e:
            self.note(speaker, body, e)
            raise
        return speaker

    def _person(self, said: object) -> tuple[Speaker, roles.Role, bool]:
        """Who it is, their role now, and whether a token speaks for them."""
        fields: Mapping[str, Any] = {}
        if isinstance(said, Mapping):
            fields = cast(Mapping[str, Any], said)
        name = str(fields.get("name"))[:TEXT_MAX]
        via, source = str(fields.get("via"))[:TEXT_MAX], str(fields.get("from"))[:TEXT_MAX]
        users = self._users()
        user = users.find(name)
        if user is None:
            raise NotPermitted(f"there is no user {name!r} any more", "Log in again.")
        role: roles.Role = user.role
        identity: object = fields.get("token")
        if identity is not None:
            token = next((t for t in user.tokens if t.id == identity), None)
            if token is None or (token.ends_at is not None and token.ends_at < time.time()):
                raise NotPermitted("this token has ended, or was removed", "Make a new one.")
            role = roles.lower(role, token.role)
        return Speaker(name, source, via), role, identity is not None

    def note(self, speaker: Speaker, body: Mapping[str, Any], error: Exception | None) -> None:
        """What came of it. Looking leaves no record, unless it was not permitted."""
        command = str(body.get("command"))
        if roles.only_looks(body) and not isinstance(error, NotPermitted):
            return
        nodes: object = body.get("nodes")
        names = cast(list[object], nodes) if isinstance(nodes, list) else []
        self._audit.write(
            Record(
                time.time(),
                speaker.name,
                speaker.source,
                speaker.via,
                command + _how(body),
                _what(body)[:TEXT_MAX],
                ", ".join(str(n) for n in names)[:TEXT_MAX],
                _result(error),
                _sentence(error)[:TEXT_MAX],
            )
        )


def _how(body: Mapping[str, Any]) -> str:
    return (" with force" if body.get("force") else "") + (
        " (dry run)" if body.get("dry_run") else ""
    )


def _what(body: Mapping[str, Any]) -> str:
    """What it was about."""
    keys = ("module", "target", "user", "node")
    return next((str(body[k]) for k in keys if body.get(k)), "")


def _result(error: Exception | None) -> str:
    match error:
        case None:
            return "accepted"
        case NotPermitted():
            return "not permitted"
        case TwofoldError():
            return "refused"
        case _:
            return "failed"


def _sentence(error: Exception | None) -> str:
    if isinstance(error, TwofoldError):
        return error.sentence or str(error)
    return "" if error is None else type(error).__name__
