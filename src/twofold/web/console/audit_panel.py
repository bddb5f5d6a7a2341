"""The audit: who asked for what, from where, and what came of it, on all nodes."""

from __future__ import annotations

import time
from html import escape

from nicegui import ui

from twofold.web.console import drawing
from twofold.web.console.frame import Frame
from twofold.web.console.views import cluster as views

AUDIT_EVERY_S = 5.0
AUDIT_ROWS = 60


def audit_panel(frame: Frame) -> None:
    with ui.element("section").classes("tf-panel tf-audit"):
        ui.html("<h2>Audit: who asked for what</h2>", sanitize=False)
        frame.asked(lambda: _audit(frame), AUDIT_EVERY_S)


async def _audit(frame: Frame) -> str:
    records = await frame.records("audit", "records", limit=AUDIT_ROWS)
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
    return drawing.table(("When", "At", "Who", "From", "What", "Result"), rows, "Nothing yet.")
