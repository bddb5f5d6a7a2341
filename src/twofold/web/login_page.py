"""The login page: plain HTML, so that the session's cookie comes with an ordinary answer.

It is the only page without a session, so it shows nothing of the cluster. After a failure it says
so without saying what was wrong; the name stays in its field.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from twofold.errors import TwofoldError
from twofold.web.access import Parts
from twofold.web.api.people_routes import set_cookie
from twofold.web.guard import KEY, address_of, who_of
from twofold.web.people import TooSoon
from twofold.web.sessions import COOKIE

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Twofold</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/twofold.css"><link rel="icon" href="/static/mark.svg">
<script src="/static/theme.js"></script></head>
<body class="tf-login"><main>
<img src="/static/mark.svg" alt="" width="40" height="40">
<h1>Twofold</h1>
{message}
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<label>Name<input name="name" value="{name}" autocomplete="username" required maxlength="64"
 autocapitalize="none" spellcheck="false" {focus_name}></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required
 maxlength="200" {focus_password}></label>
<button type="submit">Log in</button>
</form>
<p class="tf-hint">Lost the password? On a node, as root:<br>
<code>twofold user password NAME</code></p>
</main></body></html>"""


def _page(message: str = "", name: str = "", to: str = "/", status: int = 200) -> HTMLResponse:
    shown = f'<p class="tf-error" role="alert">{escape(message)}</p>' if message else ""
    text = _PAGE.format(
        message=shown,
        name=escape(name, quote=True),
        next=escape(to, quote=True),
        focus_name="" if name else "autofocus",
        focus_password="autofocus" if name else "",
    )
    return HTMLResponse(text, status)


def _local(to: str) -> str:
    """Only a path of our own: nobody is sent elsewhere after a login."""
    parts = urlsplit(to)
    safe = to.startswith("/") and not to.startswith(("//", "/\\")) and not parts.netloc
    return to if safe and to.isprintable() and len(to) < 300 else "/"


@router.get("/login")
async def login_page(request: Request) -> Response:
    to = _local(request.query_params.get("next", "/"))
    if request.scope.get(KEY) is not None:
        return RedirectResponse(to, 303)
    return _page(to=to)


@router.post("/login")
async def log_in(request: Request, parts: Parts) -> Response:
    fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    name, password = (fields.get(k, [""])[0] for k in ("name", "password"))
    to = _local(fields.get("next", ["/"])[0])
    try:
        cookie, _ = await parts.people.login(name[:64], password, address_of(request.scope))
    except TwofoldError as e:
        sentence = e.sentence[:1].upper() + e.sentence[1:] + ". " + e.mend
        return _page(sentence.strip(), name[:64], to, 429 if isinstance(e, TooSoon) else 401)
    response = RedirectResponse(to, 303)
    set_cookie(response, cookie)
    return response


@router.post("/logout")
async def log_out(request: Request, parts: Parts) -> Response:
    await parts.people.logout(who_of(request))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax", path="/")
    return response
