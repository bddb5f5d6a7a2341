"""Cluster: nodes, networks, who rules when the nodes lose each other."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Request
from nicegui import ui

from twofold.web.console import drawing
from twofold.web.console.frame import Frame
from twofold.web.console.snapshot_panel import snapshot_panel
from twofold.web.console.views import cluster as views
from twofold.web.settings import PORT

ARBITRATION_EVERY_S = 5.0


@ui.page("/cluster")
def cluster(request: Request) -> None:
    frame = Frame(request, "/cluster", "Cluster")
    _panel("Nodes", lambda: _nodes(frame), frame)
    _panel("Networks", lambda: _networks(frame), frame)
    _arbitration(frame)
    if frame.may("admin"):
        snapshot_panel(frame)


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


def _arbitration(frame: Frame) -> None:
    """Who rules; what is configured is asked, how it is stands in the modules."""

    async def ask() -> str:
        answer = await frame.services.act(frame.who, "cluster_arbitration")
        return _ruling(views.arbiters(answer), views.rulings(frame.services.watch.now()))

    with ui.element("section").classes("tf-panel"):
        ui.html("<h2>When the nodes lose each other</h2>", sanitize=False)
        frame.asked(ask, ARBITRATION_EVERY_S)


# None: not looked at yet, or nobody rules, which is neither well nor wrong.
_TONE = {True: "tf-ok", False: "tf-no", None: "tf-quiet"}


def _ruling(arbiters: tuple[views.Arbiter, ...], rulings: tuple[views.Ruling, ...]) -> str:
    known = drawing.table(
        ("Arbiter", "Kind", "Address"),
        [(f"<b>{escape(a.name)}</b>", escape(a.kind), escape(a.address)) for a in arbiters],
        "No witness and no ping address. Without one, both nodes may go on alone when the networks "
        "between them are cut; twofold witness join makes a third machine rule.",
    )
    rows = [
        (
            f"<b>{escape(r.module)}</b>",
            escape(r.who),
            f'<span class="{_TONE[r.heard]}">{escape(r.text)}</span>',
        )
        for r in rulings
    ]
    return known + drawing.table(("Module", "Ruled by", "Now"), rows)
