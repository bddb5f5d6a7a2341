"""Cluster: nodes, networks, and for administrators users and the audit."""

from __future__ import annotations

import asyncio
import time
from html import escape
from typing import Any

from fastapi import Request
from nicegui import ui

from twofold import passwords
from twofold.web.console import drawing
from twofold.web.console.acting import asked, button, said
from twofold.web.console.frame import Frame
from twofold.web.console.views import cluster as views
from twofold.web.settings import PORT
from twofold.web.watch import Object
from twofold.wire.roles import ROLES

AUDIT_EVERY_S = 5.0
AUDIT_ROWS = 60


@ui.page("/cluster")
def cluster(request: Request) -> None:
    frame = Frame(request, "/cluster", "Cluster")
    _panel("Nodes", lambda: _nodes(frame), frame)
    _panel("Networks", lambda: _networks(frame), frame)
    if frame.may("admin"):
        Users(frame)
        _audit(frame)


def _panel(title: str, draw: Any, frame: Frame) -> None:
    with ui.element("section").classes("tf-panel"):
        ui.html(f"<h2>{title}</h2>", sanitize=False)
        frame.live(draw)


def _nodes(frame: Frame) -> str:
    rows = [
        (
            f"<b>{escape(r.node)}</b>",
            f'<span class="tf-badge tone-{"good" if r.up else "bad"}">'
            f"{'up' if r.up else 'no answer'}</span>" + ("" if r.up else f"<br>{escape(r.text)}"),
            escape(r.addresses),
            escape(r.version),
            f'<span class="tone-{r.certificate_tone}">{escape(r.certificate)}</span>',
            f'<a href="{escape(r.console, quote=True)}">{escape(r.console[8:])}</a>',
        )
        for r in views.nodes(frame.services.watch.now(), PORT)
    ]
    heads = ("Node", "State", "Addresses", "Version", "Certificate", "Console")
    return drawing.table(heads, rows, "This machine is part of no cluster yet.")


def _networks(frame: Frame) -> str:
    marks = {True: '<span class="tf-ok">✓ heard</span>', False: '<span class="tf-no">✕ silent'
             "</span>", None: '<span class="tf-quiet">needs a module</span>'}  # fmt: skip
    rows = [
        (
            f"<b>{escape(r.network)}</b>",
            "<br>".join(f"{escape(who)}: {marks[heard]}" for who, heard in r.heard),
        )
        for r in views.networks(frame.services.watch.now())
    ]
    return drawing.table(("Network", "Heartbeats"), rows, "No network.")


class Users:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        with ui.element("section").classes("tf-panel"):
            with ui.element("div").classes("tf-row tf-head"):
                ui.html("<h2>Users</h2>", sanitize=False)
                button("Add a user", self._add)
            self._list = ui.element("div")
        ui.timer(0.05, self.load, once=True)

    async def _ask(self, command: str, done: str = "", **fields: Any) -> Any:
        return await said(
            lambda: self._frame.services.act(self._frame.who, command, **fields), done
        )

    async def load(self) -> None:
        answer = await self._ask("user_list")
        if answer is None:
            return
        self._list.clear()
        with self._list:
            for user in answer["users"]:
                self._draw(user)

    def _draw(self, user: Object) -> None:
        name = str(user["user"])
        with ui.element("div").classes("tf-row tf-user"):
            tokens = len(user["tokens"])
            note = f"{tokens} token{'s' if tokens != 1 else ''}" if tokens else ""
            since = views.day(float(user["password_at"]))
            ui.html(
                f"<b>{escape(name)}</b> <span>{escape(str(user['role']))}</span> "
                f"<small>password of {since} {note}</small>",
                sanitize=False,
            )
            for role in ROLES:
                if role != user["role"]:
                    button(f"Make {role}", self._changing("user_role", name, role=role))
            button("New password", self._new_password(name))
            button("Remove", self._remove(name))

    def _changing(self, command: str, name: str, **fields: Any) -> Any:
        async def change() -> None:
            await self._ask(command, "Done, on all nodes that answer.", user=name, **fields)
            await self.load()

        return change

    def _remove(self, name: str) -> Any:
        async def remove() -> None:
            text = "The user cannot log in any more, and all tokens end."
            if await asked(f"Remove {name}", text, type_this=name, yes="Remove"):
                await self._ask("user_remove", "Removed.", user=name)
                await self.load()

        return remove

    def _new_password(self, name: str) -> Any:
        async def renew() -> None:
            text = "A new password is made and shown once. Sessions with the old one end."
            if not await asked(f"New password for {name}", text, yes="Make it"):
                return
            word = passwords.generate()
            digest = await asyncio.to_thread(passwords.hashed, word)
            if await self._ask("user_password", user=name, password_hash=digest):
                await asked(f"The new password of {name}", word, yes="Noted")
                await self.load()

        return renew

    async def _add(self) -> None:
        with ui.dialog() as dialog, ui.element("div").classes("tf-dialog"):
            ui.html("<h2>Add a user</h2><p>A password is made, and shown once.</p>", sanitize=False)
            name = ui.input("Name").props("outlined dense autofocus")
            role = ui.radio(list(ROLES), value="monitor").props("inline dense")
            with ui.element("div").classes("tf-row end"):
                button("Cancel", lambda: dialog.submit(None))
                button("Add", lambda: dialog.submit((name.value, role.value)), "primary")
        answer = await dialog
        dialog.delete()
        if not answer or not answer[0]:
            return
        word = passwords.generate()
        digest = await asyncio.to_thread(passwords.hashed, word)
        fields = {"user": str(answer[0]), "role": str(answer[1]), "password_hash": digest}
        if await self._ask("user_add", **fields):
            await asked(f"The password of {answer[0]}", word, yes="Noted")
            await self.load()


def _audit(frame: Frame) -> None:
    with ui.element("section").classes("tf-panel"):
        ui.html("<h2>Audit: who asked for what</h2>", sanitize=False)
        shown = ui.html('<p class="tf-quiet">Asking …</p>', sanitize=False)

    async def look() -> None:
        nodes = [n.node for n in frame.services.watch.now().nodes if n.reachable]
        try:
            answers = await frame.services.ask_all(frame.who, nodes, "audit", limit=AUDIT_ROWS)
        except Exception:  # told at the top of the page already
            return
        records: list[Object] = [
            {**r, "node": a["node"]} for a in answers for r in a.get("records", ())
        ]
        rows = [
            (
                f"<time>{r.at}</time>",
                escape(r.node),
                f"<b>{escape(r.who)}</b>",
                escape(r.where),
                escape(r.what),
                f'<span class="{"tf-ok" if r.good else "tf-no"}">{escape(r.result)}</span>',
            )
            for r in views.audit(records, time.time())[:AUDIT_ROWS]
        ]
        text = drawing.table(("When", "At", "Who", "From", "What", "Result"), rows, "Nothing yet.")
        if text != shown.content:
            shown.set_content(text)

    ui.timer(AUDIT_EVERY_S, look)
