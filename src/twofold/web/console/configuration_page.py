"""Configuration: a module's text with check, difference before apply, history and rollback.

The text is checked on all nodes before anything is kept, and applied on all or on none; that is
the daemon's doing (`config_check`, `config_apply`), this page only shows what it says.
"""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Request
from nicegui import ui

from twofold.errors import TwofoldError
from twofold.web.console.acting import asked, button, said
from twofold.web.console.frame import Frame
from twofold.web.console.views.cluster import drift
from twofold.web.console.views.configuration import Opinion, diff_lines, opinion, versions
from twofold.web.watch import Object
from twofold.wire.files import pack, unpack
from twofold.wire.roles import ADMIN, rank

CLUSTER = "cluster.toml"
MODULE_FILE = "module.toml"
APPLY_TIMEOUT_S = 45.0


class Editor:
    """One target's text, and what is done with it."""

    def __init__(self, frame: Frame, target: str) -> None:
        self._frame = frame
        self._target = target
        self._packed: Object = {}
        self._file = CLUSTER if target == CLUSTER else MODULE_FILE
        with ui.element("section").classes("tf-panel"):
            ui.html(f"<h2>{escape(target)}</h2>", sanitize=False)
            with ui.element("div").classes("tf-editor"):
                self._text = ui.textarea().props("borderless spellcheck=false autogrow=false")
            with ui.element("div").classes("tf-row end"):
                button("Check", self._check)
                button("Show the difference", self._diff)
                button("Apply on all nodes", self._apply, "primary")
            self._said = ui.html("", sanitize=False)
        with ui.element("section").classes("tf-panel"):
            ui.html("<h2>Versions</h2>", sanitize=False)
            self._history = ui.element("div")

    async def load(self) -> None:
        answer = await self._ask("config_show")
        if answer is None:
            return
        self._packed = answer["packed"]
        self._text.value = str(answer["files"].get(self._file, ""))
        await self._load_history()

    async def _ask(self, command: str, done: str = "", **fields: Any) -> Any:
        return await said(
            lambda: self._frame.services.act(
                self._frame.who, command, timeout_s=APPLY_TIMEOUT_S, target=self._target, **fields
            ),
            done,
        )

    def _files(self) -> Object:
        """The target's files with the text of the editor in place of the old one."""
        files = unpack(self._packed)
        mode = files.get(self._file, (0o644, b""))[0]
        text = str(self._text.value or "")
        return pack({**files, self._file: (mode, (text.rstrip() + "\n").encode())})

    async def _check(self) -> Opinion:
        """What the nodes say to the text; also a refusal stands beside it until it is mended."""
        frame = self._frame
        try:
            answer = await frame.services.act(
                frame.who,
                "config_check",
                timeout_s=APPLY_TIMEOUT_S,
                target=self._target,
                files=self._files(),
            )
            found = opinion(answer)
        except TwofoldError as e:
            found = Opinion(tuple(str(e).splitlines()), ())
        self._said.set_content(_opinion(found))
        return found

    async def _diff(self) -> None:
        answer = await self._ask("config_diff", files=self._files())
        if answer is not None:
            self._said.set_content(_diff(answer))

    async def _apply(self) -> None:
        found = await self._check()
        if not found.good:
            return
        effects = "; ".join(found.effects) or "nothing changes"
        if not await asked(f"Apply {self._target}", f"On all nodes: {effects}.", yes="Apply"):
            return
        if await self._ask("config_apply", "Applied on all nodes.", files=self._files()):
            self._said.set_content("")
            await self.load()

    async def _load_history(self) -> None:
        answer = await self._ask("config_history")
        if answer is None:
            return
        self._history.clear()
        with self._history:
            shown = versions(answer)
            if not shown:
                ui.html('<p class="tf-quiet">Nothing was applied yet.</p>', sanitize=False)
            for row in shown:
                with ui.element("div").classes("tf-row tf-version"):
                    ui.html(
                        f"<b>{row.number}</b> <span>{escape(row.at)}</span> "
                        f"<span>{escape(row.by)}</span> <span>{escape(row.why)}</span>",
                        sanitize=False,
                    )
                    if row.current:
                        ui.html('<span class="tf-badge tone-good">in use</span>', sanitize=False)
                    else:
                        button("Roll back", self._roll_back(row.number)).mark(
                            f"rollback-{row.number}"
                        )

    def _roll_back(self, number: int) -> Any:
        async def roll_back() -> None:
            text = f"Version {number} becomes a new version on all nodes."
            if await asked(f"Back to version {number} of {self._target}", text, yes="Roll back"):
                done = f"Version {number} is applied again."
                if await self._ask("config_rollback", done, version=number):
                    await self.load()

        return roll_back


@ui.page("/configuration")
async def configuration(request: Request) -> None:
    frame = Frame(request, "/configuration", "Configuration")
    if rank(frame.who.role) < rank(ADMIN):
        text = "<h2>The configuration is for administrators</h2><p>You may look elsewhere.</p>"
        ui.html(f'<div class="tf-empty">{text}</div>', sanitize=False)
        return
    targets = [*frame.services.watch.now().module_names(), CLUSTER]
    chosen = request.query_params.get("target", targets[0])
    chosen = chosen if chosen in targets else targets[0]
    links = "".join(
        f'<a href="/configuration?target={escape(t)}"{" aria-current=page" if t == chosen else ""}>'
        f"{escape(t)}</a>"
        for t in targets
    )
    ui.html(f'<nav class="tf-tabs">{links}</nav>', sanitize=False)
    frame.live(lambda: _drift(frame))
    editor = Editor(frame, chosen)
    ui.timer(0.05, editor.load, once=True)


def _drift(frame: Frame) -> str:
    files = drift(frame.services.watch.now())
    if not files:
        return ""
    names = escape(", ".join(files))
    mend = "Apply it on the node that is right."
    return f'<div class="tf-alert">The nodes differ in {names}. {mend}</div>'


def _opinion(found: Opinion) -> str:
    problems = "".join(f'<p class="tf-problem tone-bad">{escape(p)}</p>' for p in found.problems)
    if problems:
        return problems
    effects = "".join(f'<p class="tf-problem tone-idle">{escape(e)}</p>' for e in found.effects)
    good = '<p class="tf-problem tone-good">All nodes agree. Nothing is applied yet.</p>'
    return good + effects


def _diff(answer: Object) -> str:
    tags = {"added": "ins", "removed": "del", "same": "span"}
    shown = "".join(
        f"<{tags[kind]}>{escape(line) or ' '}</{tags[kind]}>"
        for kind, line in diff_lines(answer.get("differences", ()))
    )
    empty = '<p class="tf-problem tone-idle">Nothing differs.</p>'
    return f'<pre class="tf-diff">{shown}</pre>' if shown else empty
