"""Roles: who may say what, for people who come through the web process.

monitor < control < admin. The web process runs as the user `twofold`, and what it asks the daemon
carries `as_user`: {"name", "from", "via", "token"}. The daemon looks the person up itself and
checks this table, so a mistake in a route cannot lend anybody a right. A command that is not in
the table is not for the web at all. Without `as_user` the web process may look, and no more.

Root, and members of the group `twofold` at their own shell, are not people of this table: they own
the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from twofold.errors import OperatorError

Role = Literal["monitor", "control", "admin"]
MONITOR: Role = "monitor"
CONTROL: Role = "control"
ADMIN: Role = "admin"
ROLES: tuple[Role, ...] = (MONITOR, CONTROL, ADMIN)

WEB_USER = "twofold"  # the web process's user on the machine

# What each command needs. Those about oneself (`user_password`, `token_*`) are checked below.
NEEDED: Mapping[str, Role] = {
    "state": MONITOR,
    "why": MONITOR,
    "log": MONITOR,
    "cluster_state": MONITOR,
    "config_drift": MONITOR,
    "cluster_arbitration": MONITOR,  # to look; see `needed`
    "snapshot": ADMIN,
    "verify_result": MONITOR,
    "estimate": MONITOR,
    "start": CONTROL,
    "stop": CONTROL,
    "restart": CONTROL,
    "second": CONTROL,
    "swap": CONTROL,
    "prim": CONTROL,
    "verify": CONTROL,
    "verify_stop": CONTROL,
    "resync": CONTROL,
    "rescue_list": CONTROL,
    "rescue_show": CONTROL,
    "rescue_delete": ADMIN,
    "module_list": MONITOR,
    "module_show": ADMIN,  # scripts and variables may hold passwords
    "module_add": ADMIN,
    "module_apply": ADMIN,
    "module_remove": ADMIN,
    "config_check": ADMIN,
    "config_show": ADMIN,
    "config_diff": ADMIN,
    "config_history": ADMIN,
    "config_apply": ADMIN,
    "config_rollback": ADMIN,
    "notify_list": ADMIN,
    "notify_set": ADMIN,
    "notify_test": ADMIN,
    "user_list": ADMIN,
    "user_add": ADMIN,
    "user_role": ADMIN,
    "user_remove": ADMIN,
    "user_password": ADMIN,
    "token_add": ADMIN,
    "token_remove": ADMIN,
    "audit": ADMIN,
    "audit_note": MONITOR,
}
ABOUT_ONESELF = frozenset({"user_password", "token_add", "token_remove"})
LOOKING = frozenset(
    {"state", "why", "log", "cluster_state", "config_drift", "verify_result", "rescue_list"}
    | {
        "estimate",
        "rescue_show",
        "module_list",
        "module_show",
        "config_check",
        "user_list",
        "audit",
    }
    | {"audit_note", "config_show", "config_diff", "config_history", "notify_list"}
)


def only_looks(body: Mapping[str, Any]) -> bool:
    """Leaves no record in the audit."""
    command = str(body.get("command"))
    if command == "snapshot":
        return body.get("item") is not None  # its beginning is recorded, not each of its files
    if command == "cluster_arbitration":
        return body.get("text") is None
    return command in LOOKING


class NotPermitted(OperatorError):
    """The person is known, and may not do this."""

    code = "not_permitted"


def rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else -1


def lower(one: Role, other: Role) -> Role:
    return one if rank(one) <= rank(other) else other


def needed(body: Mapping[str, Any], name: str = "") -> Role | None:
    """The role that a command needs of `name`; None: not for the web."""
    command = str(body.get("command"))
    if command == "prim" and body.get("force"):
        return ADMIN  # it may overwrite newer data
    if command == "cluster_arbitration" and body.get("text") is not None:
        return ADMIN
    if command in ABOUT_ONESELF and name and body.get("user") == name:
        return MONITOR
    return NEEDED.get(command)


def check(body: Mapping[str, Any], name: str, role: str, by_token: bool = False) -> None:
    """Refuse what this person may not say.

    What everybody may do about themselves a token may not: it could make itself a stronger one.
    """
    wanted = needed(body, "" if by_token else name)
    command = str(body.get("command"))
    if wanted is None:
        raise NotPermitted(
            f"{command} cannot be said through the API",
            "Use the command line on the node, as root.",
        )
    if rank(role) < rank(wanted):
        raise NotPermitted(
            f"{name or 'the web process'} has the role {role or 'none'}, and {command} needs "
            f"{wanted}",
            "An administrator gives roles: twofold user role NAME ROLE",
        )
