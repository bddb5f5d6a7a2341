"""Logging in and out, oneself, users, tokens, audit."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from twofold import passwords
from twofold.config.users import User
from twofold.errors import NotThere, OperatorError
from twofold.web.access import Admin, Monitor, Parts
from twofold.web.api.models import (
    AuditList,
    AuditRecord,
    Changed,
    Done,
    Login,
    Me,
    NewToken,
    NewUser,
    OwnPassword,
    TokenList,
    TokenMade,
    TokenShown,
    UserChange,
    UserList,
)
from twofold.web.guard import address_of
from twofold.web.people import LoginRefused
from twofold.web.services import Services
from twofold.web.sessions import COOKIE, Who

router = APIRouter(tags=["people"])
Name = Annotated[str, Path(max_length=64, description="A user's name")]
TokenId = Annotated[str, Path(max_length=16, description="A token's id")]


def set_cookie(response: Response, cookie: str) -> None:
    response.set_cookie(COOKIE, cookie, secure=True, httponly=True, samesite="lax", path="/")


@router.post("/login", responses={200: {"description": "Logged in; the cookie is set"}})
async def login(request: Request, response: Response, body: Login, parts: Parts) -> Me:
    """The session is in a cookie that scripts cannot read; `csrf` goes into a header."""
    address = address_of(request.scope)
    cookie, session = await parts.people.login(body.name, body.password, address)
    set_cookie(response, cookie)
    role = parts.people.users().get(session.name).role
    return Me(name=session.name, role=role, via="session", csrf=session.csrf)


@router.post("/logout")
async def logout(response: Response, who: Monitor, parts: Parts) -> Done:
    """Ends this session at once."""
    await parts.people.logout(who)
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax", path="/")
    return Done()


@router.get("/me")
async def me(who: Monitor) -> Me:
    """Who I am here."""
    return Me(name=who.name, role=who.role, via=who.via, csrf=who.csrf)


@router.put("/me/password")
async def own_password(who: Monitor, body: OwnPassword, parts: Parts) -> Changed:
    """My password; my other sessions end, this one too."""
    refuse_token(who)
    if not await parts.people.is_password_of(who, body.password):
        raise LoginRefused("the present password is wrong")
    return await change_password(parts, who, who.name, body.new_password)


def refuse_token(who: Who) -> None:
    if who.token is not None:
        raise OperatorError(
            "a token may change neither password nor tokens", "Log in with the password."
        )


@router.get("/me/tokens")
async def own_tokens(who: Monitor, parts: Parts) -> TokenList:
    """My tokens; what they are was shown only when they were made."""
    user = known(parts, who.name)
    return TokenList(tokens=[TokenShown.model_validate(vars(t)) for t in user.tokens])


@router.post("/me/tokens", status_code=201)
async def add_own_token(who: Monitor, body: NewToken, parts: Parts) -> TokenMade:
    """A token for a program of mine, with `role` at most. Shown this once."""
    refuse_token(who)
    return await _made_token(parts, who, who.name, body)


@router.delete("/me/tokens/{identity}")
async def remove_own_token(identity: TokenId, who: Monitor, parts: Parts) -> Changed:
    """Ends one of my tokens at once."""
    refuse_token(who)
    return await _removed_token(parts, who, who.name, identity)


async def change_password(parts: Services, who: Who, name: str, password: str) -> Changed:
    passwords.check_strength(password, name)
    digest = await asyncio.to_thread(passwords.hashed, password)
    answer = await parts.act(who, "user_password", user=name, password_hash=digest)
    return Changed.model_validate(answer)


@router.get("/users")
async def users(who: Admin, parts: Parts) -> UserList:
    """Everybody, with roles and tokens; no secrets."""
    return UserList.model_validate(await parts.act(who, "user_list"))


@router.post("/users", status_code=201)
async def add_user(who: Admin, body: NewUser, parts: Parts) -> Changed:
    """A new user, on all nodes."""
    passwords.check_strength(body.password, body.name)
    digest = await asyncio.to_thread(passwords.hashed, body.password)
    fields: dict[str, Any] = {"user": body.name, "role": body.role, "password_hash": digest}
    return Changed.model_validate(await parts.act(who, "user_add", **fields))


@router.patch("/users/{name}")
async def change_user(name: Name, who: Admin, body: UserChange, parts: Parts) -> Changed:
    """Another role, another password, or both."""
    known(parts, name)
    if body.role is None and body.password is None:
        raise OperatorError("neither role nor password is given", "Give one of them.")
    result: Changed | None = None
    if body.role is not None:
        result = Changed.model_validate(
            await parts.act(who, "user_role", user=name, role=body.role)
        )
    if body.password is not None:
        result = await change_password(parts, who, name, body.password)
    assert result is not None
    return result


@router.delete("/users/{name}")
async def remove_user(name: Name, who: Admin, parts: Parts) -> Changed:
    """Away, with all tokens and sessions."""
    known(parts, name)
    return Changed.model_validate(await parts.act(who, "user_remove", user=name))


@router.post("/users/{name}/tokens", status_code=201)
async def add_token(name: Name, who: Admin, body: NewToken, parts: Parts) -> TokenMade:
    """A token for a program: it acts as the user, with `role` at most. Shown this once."""
    known(parts, name)
    return await _made_token(parts, who, name, body)


async def _made_token(parts: Services, who: Who, name: str, body: NewToken) -> TokenMade:
    new = passwords.new_token()
    ends_at = None if body.days is None else time.time() + body.days * 86400.0
    answer = await parts.act(
        who, "token_add", user=name, token=new.id, label=body.label, digest=new.digest,
        role=body.role, ends_at=ends_at,
    )  # fmt: skip
    return TokenMade.model_validate({**answer, "id": new.id, "token": new.text, "ends_at": ends_at})


@router.delete("/users/{name}/tokens/{identity}")
async def remove_token(name: Name, identity: TokenId, who: Admin, parts: Parts) -> Changed:
    """Ends a token at once."""
    return await _removed_token(parts, who, name, identity)


async def _removed_token(parts: Services, who: Who, name: str, identity: str) -> Changed:
    user = known(parts, name)
    if not any(t.id == identity for t in user.tokens):
        raise NotThere(f"{name} has no token {identity!r}")
    return Changed.model_validate(await parts.act(who, "token_remove", user=name, token=identity))


def known(parts: Services, name: str) -> User:
    found = parts.people.users().find(name)
    if found is None:
        raise NotThere(f"there is no user {name!r}", "GET /users lists them.")
    return found


@router.get("/audit")
async def audit(
    who: Admin, parts: Parts, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> AuditList:
    """Who asked for what, from where, and what came of it; of all nodes that answer."""
    nodes = [n.node for n in parts.watch.now().nodes]
    answers = await parts.ask_all(who, nodes, "audit", limit=limit)
    records = [
        AuditRecord.model_validate({**r, "node": a["node"]})
        for a in answers
        for r in a.get("records", ())
    ]
    records.sort(key=lambda r: r.at)
    return AuditList(records=records[-limit:])
