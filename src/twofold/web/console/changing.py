"""A change before it is made: the difference, what it leads to, and a word on why.

`proposed` is the one dialog for an edit, a rollback and a new module: nobody applies what was not
shown. What the nodes refuse is drawn by `opinion_html`, each problem with its place.
"""

from __future__ import annotations

from html import escape

from nicegui import ui

from twofold.web.console.acting import button
from twofold.web.console.views.configuration import Opinion, diff_lines
from twofold.web.watch import Object

WHY_CHARACTERS_MAX = 200
_TAGS = {"added": "ins", "removed": "del", "same": "span", "head": "b"}


def diff_html(answer: Object) -> str:
    shown = "".join(
        f"<{_TAGS[kind]}>{escape(line) or ' '}</{_TAGS[kind]}>"
        for kind, line in diff_lines(answer.get("differences", ()))
    )
    return f'<pre class="tf-diff">{shown}</pre>' if shown else ""


def effects_html(found: Opinion) -> str:
    """What counts when; said even when it is nothing."""
    parts = "".join(
        f"<dt>{escape(when)}</dt>" + "".join(f"<dd>{escape(t)}</dd>" for t in texts)
        for when, texts in found.effects
    )
    if not parts:
        return '<p class="tf-quiet">Nothing that runs is interrupted.</p>'
    return f'<dl class="tf-effects">{parts}</dl>'


def opinion_html(found: Opinion) -> str:
    """Of a check that found nothing wrong."""
    good = '<p class="tf-problem tone-good">All nodes agree. Nothing is applied yet.</p>'
    return good + effects_html(found)


async def shown(title: str, html: str) -> None:
    """Something to read, as wide as the page."""
    with ui.dialog() as dialog, ui.element("div").classes("tf-dialog wide"):
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
        with ui.element("div").classes("tf-scroll"):
            ui.html(html, sanitize=False)
        with ui.element("div").classes("tf-row end"):
            button("Close", lambda: dialog.submit(None))
    await dialog
    dialog.delete()


async def proposed(title: str, difference: str, found: Opinion, yes: str) -> str | None:
    """The reason that was given (it may be empty) when it is to be done; None when not."""
    with ui.dialog() as dialog, ui.element("div").classes("tf-dialog wide"):
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
        with ui.element("div").classes("tf-scroll"):
            ui.html(difference or '<p class="tf-quiet">No line differs.</p>', sanitize=False)
        ui.html(effects_html(found), sanitize=False)
        why = ui.input("Why (for those who read the history)").props("outlined dense autofocus")
        why.props(f"maxlength={WHY_CHARACTERS_MAX}")
        with ui.element("div").classes("tf-row end"):
            button("Cancel", lambda: dialog.submit(None))
            button(yes, lambda: dialog.submit((str(why.value or ""),)), "primary")
    answer = await dialog
    dialog.delete()
    return str(answer[0]) if answer else None
