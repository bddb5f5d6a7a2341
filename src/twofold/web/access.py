"""Roles at the routes: each one names, as the type of a parameter, who may use it.

    async def stop(who: Control, ...)

A route without `Monitor`, `Control`, `Admin` or `Anybody` is refused by a test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Request

from twofold.web.guard import who_of
from twofold.web.services import Services
from twofold.web.sessions import Who
from twofold.wire.roles import ADMIN, CONTROL, MONITOR, NotPermitted, Role, rank

ROLE_OF: dict[
    object, Role
] = {}  # dependency -> the role it asks for; read by the test of all routes


def _needs(role: Role) -> Callable[[Request], Awaitable[Who]]:
    async def checked(request: Request) -> Who:
        who = who_of(request)
        if rank(who.role) < rank(role):
            raise NotPermitted(
                f"{who.name} has the role {who.role}, and this needs {role}",
                "An administrator gives roles: twofold user role NAME ROLE",
            )
        return who

    ROLE_OF[checked] = role
    return checked


Monitor = Annotated[Who, Depends(_needs(MONITOR))]
Control = Annotated[Who, Depends(_needs(CONTROL))]
Admin = Annotated[Who, Depends(_needs(ADMIN))]


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Parts = Annotated[Services, Depends(_services)]
