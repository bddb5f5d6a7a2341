"""People: for everybody their own password and tokens; for administrators all users and the audit.

A secret (a password that was made, a token) is shown once, in a dialog, and is nowhere else: the
browser gets it, the daemon gets a digest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from html import escape
from typing import Any

from fastapi import Request
from nicegui import ui

from twofold import passwords
from twofold.errors import OperatorError
from twofold.web.console.acting import asked, button, said
from twofold.web.console.audit_panel import audit_panel
from twofold.web.console.frame import Frame
from twofold.web.console.views import cluster as views
from twofold.web.watch import Object
from twofold.wire.roles import ROLES, rank

DAYS = {90: "90 days", 365: "a year", 0: "until it is removed"}
Act = Callable[[], Coroutine[Any, Any, None]]


@ui.page("/users")
def users(request: Request) -> None:
    frame = Frame(request, "/users", "Users")
    Own(frame)
    if frame.may("admin"):
        Users(frame)
        audit_panel(frame)


async def secret(title: str, text: str, word: str) -> None:
    """Shown once."""
    with ui.dialog().props("persistent") as dialog, ui.element("div").classes("tf-dialog"):
        ui.html(
            f'<h2>{escape(title)}</h2><p>{escape(text)}</p><code class="tf-secret">'
            f"{escape(word)}</code>",
            sanitize=False,
        )
        with ui.element("div").classes("tf-row end"):
            button("Copy", lambda: ui.clipboard.write(word))
            button("I have noted it", lambda: dialog.submit(True), "primary")
    await dialog
    dialog.delete()


class _People:
    """What both lists do: ask the daemon, and draw anew."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._list: Any = None

    async def _ask(self, command: str, done: str = "", **fields: Any) -> Any:
        return await said(
            lambda: self._frame.services.act(self._frame.who, command, **fields), done
        )

    async def load(self) -> None:
        raise NotImplementedError

    def _changing(self, command: str, done: str, **fields: Any) -> Act:
        async def change() -> None:
            await self._ask(command, done, **fields)
            await self.load()

        return change

    def _draw_token(self, user: str, token: Object) -> None:
        now = time.time()
        ends = token.get("ends_at")
        over = ends is not None and float(ends) < now
        until = "has ended" if over else f"until {views.day(ends)}" if ends else "without an end"
        label = escape(str(token["label"]) or "no label")
        with ui.element("div").classes("tf-row tf-user tf-token"):
            ui.html(
                f"<b>{label}</b> <span>{escape(str(token['role']))}</span> "
                f"<small>made {views.day(float(token['created_at']))}, {until}</small>",
                sanitize=False,
            )
            button("Revoke", self._revoke(user, token))

    def _revoke(self, user: str, token: Object) -> Act:
        async def revoke() -> None:
            text = "Programs that use it are refused from now on."
            if await asked(f"Revoke {token['label'] or 'this token'}", text, yes="Revoke"):
                await self._ask("token_remove", "Revoked.", user=user, token=token["id"])
                await self.load()

        return revoke

    def _new_token(self, user: str, highest: str) -> Act:
        async def make() -> None:
            with ui.dialog() as dialog, ui.element("div").classes("tf-dialog"):
                ui.html(
                    "<h2>A token for a program</h2><p>It acts as "
                    f"{escape(user)}, with no more than the role that is chosen here.</p>",
                    sanitize=False,
                )
                label = ui.input("What it is for").props("outlined dense autofocus maxlength=80")
                roles = [r for r in ROLES if rank(r) <= rank(highest)]
                role = ui.radio(roles, value=roles[0]).props("inline dense")
                days = ui.radio(DAYS, value=90).props("inline dense")
                with ui.element("div").classes("tf-row end"):
                    button("Cancel", lambda: dialog.submit(None))
                    chosen = lambda: (str(label.value or ""), str(role.value), int(days.value or 0))  # noqa: E731
                    button("Make it", lambda: dialog.submit(chosen()), "primary")
            answer = await dialog
            dialog.delete()
            if answer:
                await self._made(user, *answer)

        return make

    async def _made(self, user: str, label: str, role: str, days: int) -> None:
        new = passwords.new_token()
        ends_at = time.time() + days * 86400.0 if days else None
        fields = {"token": new.id, "label": label, "digest": new.digest, "role": role}
        if await self._ask("token_add", user=user, ends_at=ends_at, **fields):
            text = "It is shown this once. Send it as: Authorization: Bearer …"
            await secret("The token", text, new.text)
            await self.load()


class Own(_People):
    """Of the person who is logged in."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        who = frame.who
        with ui.element("section").classes("tf-panel"):
            with ui.element("div").classes("tf-row tf-head"):
                ui.html(
                    f"<h2>You: {escape(who.name)}, with the role {escape(who.role)}</h2>",
                    sanitize=False,
                )
                with ui.element("div").classes("tf-row"):
                    button("Change my password", self._password)
                    button("New token", self._new_token(who.name, who.role))
            self._list = ui.element("div")
        ui.timer(0.05, self.load, once=True)

    async def load(self) -> None:
        user = self._frame.services.people.users().find(self._frame.who.name)
        tokens = [vars(t) for t in user.tokens] if user else []
        self._list.clear()
        with self._list:
            if not tokens:
                ui.html(
                    '<p class="tf-quiet">No token. A token lets a program of yours in, '
                    "such as monitoring, without your password.</p>",
                    sanitize=False,
                )
            for token in tokens:
                self._draw_token(self._frame.who.name, token)

    async def _password(self) -> None:
        with ui.dialog() as dialog, ui.element("div").classes("tf-dialog"):
            ui.html(
                "<h2>Change my password</h2><p>You log in again with the new one; so do your "
                "other browsers. Tokens stay.</p>",
                sanitize=False,
            )
            inputs = [
                ui.input(label, password=True).props("outlined dense")
                for label in ("The present one", "The new one", "The new one again")
            ]
            with ui.element("div").classes("tf-row end"):
                button("Cancel", lambda: dialog.submit(None))
                texts = lambda: [str(i.value or "") for i in inputs]  # noqa: E731
                button("Change it", lambda: dialog.submit(texts()), "primary")
        answer = await dialog
        dialog.delete()
        if answer and await said(lambda: self._changed(*answer), ""):
            ui.navigate.to("/login")

    async def _changed(self, present: str, new: str, again: str) -> Any:
        frame = self._frame
        if new != again:
            raise OperatorError("the new password was not typed twice the same", "Try again.")
        passwords.check_strength(new, frame.who.name)
        if not await frame.services.people.is_password_of(frame.who, present):
            raise OperatorError("the present password is wrong", "Try again.")
        digest = await asyncio.to_thread(passwords.hashed, new)
        return await frame.services.act(
            frame.who, "user_password", user=frame.who.name, password_hash=digest
        )


class Users(_People):
    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        with ui.element("section").classes("tf-panel"):
            with ui.element("div").classes("tf-row tf-head"):
                ui.html("<h2>Users</h2>", sanitize=False)
                button("Add a user", self._add)
            self._list = ui.element("div")
        ui.timer(0.05, self.load, once=True)

    async def load(self) -> None:
        answer = await self._ask("user_list")
        if answer is None:
            return
        self._list.clear()
        with self._list:
            for user in answer["users"]:
                self._draw(user)

    def _draw(self, user: Object) -> None:
        name, own = str(user["user"]), user["user"] == self._frame.who.name
        with ui.element("div").classes("tf-row tf-user"):
            since = views.day(float(user["password_at"]))
            ui.html(
                f"<b>{escape(name)}</b> <span>{escape(str(user['role']))}</span> "
                f"<small>password of {since}{', that is you' if own else ''}</small>",
                sanitize=False,
            )
            if own:  # above, with what one may do oneself
                return
            for role in ROLES:
                if role != user["role"]:
                    done = f"{name} has the role {role} now."
                    act = self._changing("user_role", done, user=name, role=role)
                    button(f"Make {role}", act)
            button("New password", self._new_password(name))
            button("New token", self._new_token(name, str(user["role"])))
            button("Remove", self._remove(name))
        for token in user["tokens"]:
            self._draw_token(name, token)

    def _remove(self, name: str) -> Act:
        async def remove() -> None:
            text = "The user cannot log in any more, and all tokens end."
            if await asked(f"Remove {name}", text, type_this=name, yes="Remove"):
                await self._ask("user_remove", "Removed.", user=name)
                await self.load()

        return remove

    def _new_password(self, name: str) -> Act:
        async def renew() -> None:
            text = "A new password is made and shown once. Sessions with the old one end."
            if await asked(f"New password for {name}", text, yes="Make it"):
                await self._with_password("user_password", name)

        return renew

    async def _with_password(self, command: str, name: str, **fields: Any) -> None:
        word = passwords.generate()
        digest = await asyncio.to_thread(passwords.hashed, word)
        if await self._ask(command, user=name, password_hash=digest, **fields):
            text = "It is shown this once. Whoever gets it changes it under Users."
            await secret(f"The password of {name}", text, word)
            await self.load()

    async def _add(self) -> None:
        with ui.dialog() as dialog, ui.element("div").classes("tf-dialog"):
            ui.html("<h2>Add a user</h2><p>A password is made, and shown once.</p>", sanitize=False)
            name = ui.input("Name").props("outlined dense autofocus")
            role = ui.radio(list(ROLES), value="monitor").props("inline dense")
            ui.html(
                "<p>monitor looks, control starts and stops, admin does everything.</p>",
                sanitize=False,
            )
            with ui.element("div").classes("tf-row end"):
                button("Cancel", lambda: dialog.submit(None))
                button("Add", lambda: dialog.submit((name.value, role.value)), "primary")
        answer = await dialog
        dialog.delete()
        if answer and answer[0]:
            await self._with_password("user_add", str(answer[0]), role=str(answer[1]))
