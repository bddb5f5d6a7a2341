"""The editor of one target (a module, or cluster.toml): files, what the nodes say, versions.

What is edited lives here, on the server, as texts by path; `base` is the digest of what it was made
from, so that an edit that somebody overtook is refused instead of undoing theirs. A file that is no
text is kept as it is.
"""

from __future__ import annotations

import time
from html import escape
from typing import Any

from nicegui import ui

from twofold.config.problem import Placed
from twofold.errors import ChangedMeanwhile, TwofoldError
from twofold.web.console.acting import button, said
from twofold.web.console.changing import (
    diff_html,
    effects_html,
    opinion_html,
    proposed,
    shown,
)
from twofold.web.console.frame import Frame
from twofold.web.console.views.configuration import (
    Opinion,
    VersionRow,
    language_of,
    opinion,
    refused,
    versions,
)
from twofold.web.watch import Object
from twofold.wire.files import Files, pack, unpack
from twofold.wire.local import APPLY_TIMEOUT_S

CLUSTER = "cluster.toml"
MODULE_FILE = "module.toml"


class Editor:
    def __init__(self, frame: Frame, target: str) -> None:
        self._frame = frame
        self._target = target
        self._main = CLUSTER if target == CLUSTER else MODULE_FILE
        self._files: Files = {}
        self._texts: dict[str, str] = {}
        self._file = self._main
        self._base = ""
        with ui.element("section").classes("tf-panel"):
            self._tabs = ui.element("div").classes("tf-files")
            with ui.element("div").classes("tf-editor"):
                self._text = ui.codemirror(
                    on_change=self._typed, language="TOML", indent="  ", line_wrapping=True
                )
            self._said = ui.element("div").classes("tf-said")
            with ui.element("div").classes("tf-row end"):
                button("Check", self._check)
                button("Show the difference", self._show_diff)
                button("Apply on all nodes", self._apply, "primary")
        with ui.element("section").classes("tf-panel"):
            ui.html("<h2>Versions</h2>", sanitize=False)
            self._history = ui.element("div")

        # The browser knows whether it is dark; it says so when it is there, and at each change.
        ui.on("twofold-theme", lambda e: self._dress(str(e.args)))

    def _dress(self, theme: str) -> None:
        self._text.set_theme("vscodeDark" if theme == "dark" else "vscodeLight")

    # --- the texts --------------------------------------------------------------------------------

    async def load(self) -> None:
        answer = await self._ask("config_show")
        if answer is None:
            return
        self._files = unpack(answer["packed"])
        self._base = str(answer["digest"])
        self._texts = {}
        for path, (_, content) in sorted(self._files.items(), key=lambda f: f[0] != self._main):
            try:
                self._texts[path] = content.decode("utf-8")
            except UnicodeDecodeError:
                continue
        self._open(self._file if self._file in self._texts else self._main)
        await self._load_history()

    def _open(self, path: str) -> None:
        self._file = path
        text = self._texts.get(path, "")
        self._text.set_language(language_of(path, text))  # pyright: ignore[reportArgumentType]
        self._text.set_value(text)
        self._text.decorations = []
        self._tabs.clear()
        with self._tabs:
            for name in self._texts if len(self._texts) > 1 else ():
                button(name, lambda name=name: self._open(name), "now" if name == path else "")

    def _typed(self) -> None:
        self._texts[self._file] = str(self._text.value or "")

    def _packed(self) -> Object:
        """All files, with what was edited; each text ends with a line's end."""
        edited = {
            path: (self._files[path][0], (text.rstrip() + "\n").encode())
            for path, text in self._texts.items()
            if text.encode() != self._files[path][1]
        }
        return pack({**self._files, **edited})

    # --- what is done with them -------------------------------------------------------------------

    async def _act(self, command: str, **fields: Any) -> Object:
        return await self._frame.services.act(
            self._frame.who, command, timeout_s=APPLY_TIMEOUT_S, target=self._target, **fields
        )

    async def _ask(self, command: str, done: str = "", **fields: Any) -> Any:
        return await said(lambda: self._act(command, **fields), done)

    async def _opinion(self) -> Opinion:
        """What the nodes say; also a refusal stands beside the text until it is mended."""
        try:
            found = opinion(await self._act("config_check", files=self._packed(), exact=True))
        except TwofoldError as e:
            found = refused(str(e))
        self._mark(found)
        return found

    def _mark(self, found: Opinion) -> None:
        """Each problem under the text, and at its line; a click leads there."""
        here = [p for p in found.problems if p.line and p.file in (None, self._file)]
        last = str(self._text.value or "").count("\n") + 1
        self._text.decorations = [
            {"kind": "line", "line": min(int(p.line or 1), last), "class": "tf-wrong"} for p in here
        ]
        if here:
            self._text.reveal_line(min(int(here[0].line or 1), last))
        self._said.clear()
        with self._said:
            for problem in found.problems:
                row = ui.html(_problem(problem), sanitize=False)
                row.on("click", lambda _, p=problem: self._go_to(p))

    def _go_to(self, problem: Placed) -> None:
        if problem.file in self._texts and problem.file != self._file:
            self._open(str(problem.file))
        if problem.line:
            self._text.reveal_line(problem.line)

    async def _check(self) -> None:
        found = await self._opinion()
        if found.good:
            with self._said:
                ui.html(opinion_html(found), sanitize=False)

    async def _show_diff(self) -> None:
        answer = await self._ask("config_diff", files=self._packed())
        if answer is not None:
            text = diff_html(answer) or '<p class="tf-quiet">Nothing was changed.</p>'
            await shown(f"{self._target}: what is applied now, and the edit", text)

    async def _apply(self) -> None:
        found = await self._opinion()
        if not found.good:
            return
        files = self._packed()
        difference = await self._ask("config_diff", files=files)
        if difference is None:
            return
        title = f"Apply {self._target} on all nodes"
        why = await proposed(title, diff_html(difference), found, "Apply")
        if why is not None and await self._applied("config_apply", files=files, why=why):
            await self.load()

    async def _applied(self, command: str, **fields: Any) -> bool:
        """Whether it was; who was overtaken keeps the text, and is offered the newest."""
        try:
            answer = await self._act(command, base=self._base, **fields)
        except ChangedMeanwhile as e:
            self._overtaken(e)
            return False
        except TwofoldError as e:
            self._mark(refused(str(e)))
            return False
        self._said.clear()
        with self._said:
            ui.html(_done(answer), sanitize=False)
        return True

    def _overtaken(self, error: ChangedMeanwhile) -> None:
        self._said.clear()
        text = f"{error.sentence[:1].upper()}{error.sentence[1:]}. Your text is kept here."
        with self._said:
            ui.html(f'<p class="tf-problem tone-bad">{escape(text)}</p>', sanitize=False)
            with ui.element("div").classes("tf-row"):
                button("Compare mine with the newest", self._show_diff)
                button("Take the newest, drop mine", self._take_newest)

    async def _take_newest(self) -> None:
        self._said.clear()
        await self.load()

    # --- versions ---------------------------------------------------------------------------------

    async def _load_history(self) -> None:
        answer = await self._ask("config_history")
        if answer is None:
            return
        self._history.clear()
        with self._history:
            rows = versions(answer, time.time())
            if not rows:
                ui.html('<p class="tf-quiet">Nothing was applied yet.</p>', sanitize=False)
            for row in rows:
                self._draw_version(row)

    def _draw_version(self, row: VersionRow) -> None:
        with ui.element("div").classes("tf-row tf-version"):
            why = f"<q>{escape(row.why)}</q>" if row.why else ""
            what = "removed by" if row.removed else "by"
            ui.html(
                f"<div><b>{row.number}</b><span>{escape(row.at)}</span> "
                f"<span>{what} {escape(row.by)}</span>{why}</div>",
                sanitize=False,
            )
            if row.current:
                ui.html('<span class="tf-badge tone-good">in use</span>', sanitize=False)
                return
            button("Compare", lambda: self._compare(row.number))
            button("Roll back", lambda: self._roll_back(row.number)).mark(f"rollback-{row.number}")

    async def _compare(self, number: int) -> None:
        answer = await self._ask("config_diff", version=number)
        if answer is not None:
            text = diff_html(answer) or '<p class="tf-quiet">They are equal.</p>'
            await shown(f"From version {number} to what is applied now", text)

    async def _roll_back(self, number: int) -> None:
        then = await self._ask("config_show", version=number)
        if then is None:
            return
        difference = await self._ask("config_diff", files=then["packed"])
        try:
            looked = await self._act("config_rollback", version=number, dry_run=True)
        except TwofoldError as e:
            self._mark(refused(str(e)))
            return
        found = opinion(looked)
        if not found.good:
            self._mark(found)
            return
        title = f"Back to version {number} of {self._target}, on all nodes"
        why = await proposed(title, diff_html(difference or {}), found, "Roll back")
        if why is None:
            return
        more = {"why": why} if why else {}
        if await self._applied("config_rollback", version=number, **more):
            await self.load()


def _problem(problem: Placed) -> str:
    place = ""
    if problem.file:
        column = f", column {problem.column}" if problem.column else ""
        line = f" line {problem.line}{column}" if problem.line else ""
        place = f"<b>{escape(problem.file)}{line}</b> "
    return f'<p class="tf-problem tone-bad">{place}{escape(problem.text)}</p>'


def _done(answer: Object) -> str:
    later = [str(n) for n in answer.get("later", ())]
    nodes = " and ".join(str(n) for n in answer.get("nodes", ()) if n not in later)
    text = f"Version {answer.get('version')} is applied on {nodes}."
    if later:
        text += f" {' and '.join(later)} takes it as soon as it answers."
    effects = effects_html(opinion(answer))
    return f'<p class="tf-problem tone-good">{escape(text)}</p>{effects}'
