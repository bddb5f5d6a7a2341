"""Configuration: a target's files with check, difference before apply, history, rollback, drift.

The text is checked on all nodes before anything is kept, and applied on all or on none; that is
the daemon's doing (`config_check`, `config_apply`), these pages only show what it says.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from twofold.web.console.editing import CLUSTER, Editor
from twofold.web.console.frame import Frame
from twofold.web.watch import Object

DRIFT_EVERY_S = 5.0


def only_for_administrators() -> None:
    text = "<h2>The configuration is for administrators</h2><p>You may look elsewhere.</p>"
    ui.html(f'<div class="tf-empty">{text}</div>', sanitize=False)


@ui.page("/configuration")
async def configuration(request: Request) -> None:
    frame = Frame(request, "/configuration", "Configuration")
    if not frame.may("admin"):
        only_for_administrators()
        return
    targets = [*frame.services.watch.now().module_names(), CLUSTER]
    chosen = request.query_params.get("target", targets[0])
    chosen = chosen if chosen in targets else targets[0]
    links = "".join(
        f'<a href="/configuration?target={quote(t)}"{" aria-current=page" if t == chosen else ""}>'
        f"{escape(t)}</a>"
        for t in targets
    )
    links += '<a class="tf-new" href="/configuration/new">New module</a>'
    ui.html(f'<nav class="tf-tabs">{links}</nav>', sanitize=False)
    _drift(frame)
    editor = Editor(frame, chosen)
    ui.timer(0.05, editor.load, once=True)


def _drift(frame: Frame) -> None:
    """What is not the version that was applied, on any node; asked while the page is open."""

    async def ask() -> str:
        return drift_html(await frame.services.act(frame.who, "config_drift"))

    frame.asked(ask, DRIFT_EVERY_S, first="")


def drift_html(answer: Object) -> str:
    return "".join(
        f'<div class="tf-alert"><b>{_sentence(str(d["text"]))}</b> {escape(str(d["mend"]))}</div>'
        for d in answer.get("drift", ())
    )


def _sentence(text: str) -> str:
    return escape(text[:1].upper() + text[1:] + ".")
