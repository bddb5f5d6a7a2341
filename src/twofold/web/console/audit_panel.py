"""The audit: who asked for what, from where, and what came of it, on all nodes."""

from __future__ import annotations

import time
from html import escape

from nicegui import ui

from twofold.web.console import drawing
from twofold.web.console.frame import Frame
from twofold.web.console.views import cluster as views
from twofold.web.watch import Object

AUDIT_EVERY_S = 5.0
AUDIT_ROWS = 60


def audit_panel(frame: Frame) -> None:
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

    ui.timer(0.05, look, once=True)
    ui.timer(AUDIT_EVERY_S, look)
