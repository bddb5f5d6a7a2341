"""A new module from the library: choose one, fill its variables, see what it would be, add, start.

Everything is asked of the nodes (`module_add` with `dry_run` first): a directory that is missing on
one of them, or an address that is taken, is said before anything is there.
"""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from twofold.config import render
from twofold.config.library import LIBRARY, LibraryModule, library
from twofold.config.load import module_files
from twofold.errors import TwofoldError
from twofold.web.console.acting import button
from twofold.web.console.changing import shown
from twofold.web.console.configuration_page import only_for_administrators
from twofold.web.console.frame import Frame
from twofold.web.console.views.configuration import Opinion, fields, opinion, refused
from twofold.wire.files import Files, pack
from twofold.wire.local import APPLY_TIMEOUT_S


@ui.page("/configuration/new")
async def new_module(request: Request) -> None:
    frame = Frame(request, "/configuration", "New module")
    if not frame.may("admin"):
        only_for_administrators()
        return
    known = {m.name: m for m in await asyncio.to_thread(lambda: list(library()))}
    chosen = known.get(request.query_params.get("from", ""))
    with ui.element("section").classes("tf-panel"):
        if chosen is None:
            ui.html(_choices(list(known.values())), sanitize=False)
        else:
            NewModule(frame, chosen)


def _choices(known: list[LibraryModule]) -> str:
    rows = "".join(
        f'<a class="tf-choice" href="/configuration/new?from={quote(m.name)}">'
        f"<b>{escape(m.name)}</b><span>{escape(m.description)}</span></a>"
        for m in known
    )
    return (
        "<h2>Which application shall be made highly available?</h2>"
        f'<div class="tf-choices">{rows}</div>'
        '<p class="tf-quiet">One of your own: copy the nearest of these, and add it with '
        "<code>twofold module add NAME --from ./DIRECTORY</code>.</p>"
    )


class NewModule:
    def __init__(self, frame: Frame, chosen: LibraryModule) -> None:
        self._frame = frame
        self._chosen = chosen
        self._inputs: dict[str, ui.input] = {}
        ui.html(
            f'<h2><a href="/configuration/new">New module</a> from {escape(chosen.name)}</h2>'
            f"<p>{escape(chosen.description)}</p>",
            sanitize=False,
        )
        with ui.element("div").classes("tf-form"):
            self._name = self._field("Name", "how it is called from now on", chosen.name, True)
            for field in fields(chosen.variables):
                self._inputs[field.name] = self._field(
                    field.name, field.help, field.value, field.needed
                )
        self._said = ui.element("div").classes("tf-said")
        with ui.element("div").classes("tf-row end"):
            button("Preview", self._preview)
            button("Check on all nodes", self._check)
            button("Add it", self._add, "primary")

    def _field(self, label: str, help_: str, value: str, needed: bool) -> ui.input:
        with ui.element("label").classes("tf-field"):
            mark = " <i>must be given</i>" if needed and not value else ""
            ui.html(f"<b>{escape(label)}</b>{mark}<span>{escape(help_)}</span>", sanitize=False)
            made = ui.input(value=value).props("outlined dense spellcheck=false")
            made.props(f'aria-label="{escape(label, quote=True)}"')
        return made

    def _values(self) -> dict[str, str]:
        """What was filled in; an empty field keeps its default."""
        filled = {n: str(i.value or "").strip() for n, i in self._inputs.items()}
        defaults = {n: d for n, (d, _) in self._chosen.variables.items()}
        return {n: v for n, v in filled.items() if v and v != defaults[n]}

    async def _files(self) -> Files:
        return await asyncio.to_thread(module_files, LIBRARY / self._chosen.name)

    async def _preview(self) -> None:
        try:
            text = (await self._files())["module.toml"][1].decode()
            text = render.set_variables(text, self._values())
        except TwofoldError as e:
            self._tell(refused(str(e)))
            return
        await shown("module.toml, as it would be", f'<pre class="tf-diff">{escape(text)}</pre>')

    async def _ask(self, dry_run: bool) -> Any:
        """The nodes' answer, or None when they refuse: that is told beside the form."""
        missing = [n for n, (default, _) in self._chosen.variables.items()
                   if default is None and not str(self._inputs[n].value or "").strip()]  # fmt: skip
        if missing:
            self._tell(refused("\n".join(f"{n} must be given" for n in missing)))
            return None
        try:
            answer = await self._frame.services.act(
                self._frame.who,
                "module_add",
                timeout_s=APPLY_TIMEOUT_S,
                module=str(self._name.value or "").strip(),
                files=pack(await self._files()),
                set=self._values(),
                dry_run=dry_run,
                why=f"from the library: {self._chosen.name}",
            )
        except TwofoldError as e:
            self._tell(refused(str(e)))
            return None
        found = opinion(answer)
        self._tell(found)
        return answer if found.good else None

    def _tell(self, found: Opinion) -> None:
        self._said.clear()
        with self._said:
            for problem in found.problems:
                place = f"{problem.file} line {problem.line}: " if problem.line else ""
                text = f'<p class="tf-problem tone-bad">{escape(place + problem.text)}</p>'
                ui.html(text, sanitize=False)

    async def _check(self) -> None:
        if await self._ask(dry_run=True):
            with self._said:
                good = "All nodes could take it. Nothing is there yet."
                ui.html(f'<p class="tf-problem tone-good">{good}</p>', sanitize=False)

    async def _add(self) -> None:
        if await self._ask(dry_run=False):
            name = quote(str(self._name.value or "").strip())
            await self._frame.services.watch.look_again()  # its page is asked for next
            ui.navigate.to(f"/module/{name}")
