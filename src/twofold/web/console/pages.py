"""Overview, module and log: what is watched all day."""

from __future__ import annotations

import time
from html import escape

from fastapi import Request
from nicegui import ui

from twofold.web.console import drawing
from twofold.web.console.acting import button, module_action, said
from twofold.web.console.frame import Frame
from twofold.web.console.views.card import card, cards
from twofold.web.console.views.charts import Band, Chart, bands, charts
from twofold.web.console.views.log import Filter, lines, moved
from twofold.web.overview import SERVING
from twofold.web.watch import Object

WHY_EVERY_S = 3.0


@ui.page("/")
def overview(request: Request) -> None:
    frame = Frame(request, "/", "Overview")
    watch = frame.services.watch
    frame.live(lambda: drawing.cards(cards(watch.now(), watch.history, watch.entries, time.time())))


@ui.page("/module/{name}")
def module(request: Request, name: str) -> None:
    frame = Frame(request, "/", name)
    watch = frame.services.watch
    if name not in watch.now().module_names():
        ui.html(
            f'<div class="tf-empty"><h2>There is no module {escape(name)}</h2>'
            '<p><a href="/">Back to the overview</a></p></div>',
            sanitize=False,
        )
        return
    with ui.element("div").classes("tf-columns"):
        with ui.element("div").classes("tf-main"):
            frame.live(
                lambda: drawing.card(
                    card(watch.now(), name, watch.history, watch.entries, time.time()), False
                )
            )
            if frame.may("control"):
                _actions(frame, name)
            _section("Traffic", lambda: drawing.charts(_charts(frame, name)), frame)
            _section("States", lambda: drawing.timeline(_timeline(frame, name)), frame)
        with ui.element("div").classes("tf-side"):
            _why(frame, name)
            _section(
                "Log", lambda: drawing.log(lines(watch.entries, Filter(module=name))[:25]), frame
            )


def _section(title: str, draw: object, frame: Frame) -> None:
    assert callable(draw)
    with ui.element("section").classes("tf-panel"):
        ui.html(f"<h2>{title}</h2>", sanitize=False)
        frame.live(lambda: str(draw()))


def _actions(frame: Frame, name: str) -> None:
    snapshot = frame.services.watch.now()
    with ui.element("section").classes("tf-panel tf-actions"):
        for node in (n.node for n in snapshot.nodes):
            with ui.element("div").classes("tf-row"):
                ui.html(f"<b>{escape(node)}</b>", sanitize=False)
                for action, text in (
                    ("start", "Start"),
                    ("stop", "Stop"),
                    ("restart", "Restart"),
                ):
                    _action(frame, name, action, node, text)
                with ui.element("details").classes("tf-more"):
                    ui.html("<summary>More</summary>", sanitize=False, tag="summary")
                    _action(frame, name, "prim", node, "Make primary")
                    _action(frame, name, "second", node, "Make secondary")
                    if frame.may("admin"):
                        _action(frame, name, "prim", node, "Force primary", force=True)
        with ui.element("div").classes("tf-row"):
            ui.html("<b>both</b>", sanitize=False)
            button("Swap sides", lambda: _swap(frame, name), "primary")
            button("Verify the copies", lambda: _verify(frame, name))


def _action(
    frame: Frame, name: str, action: str, node: str, text: str, force: bool = False
) -> None:
    button(
        text,
        lambda: module_action(frame, name, action, node, force),
        "danger" if force else "",
    ).mark(f"{action}-{node}{'-force' if force else ''}")


async def _swap(frame: Frame, name: str) -> None:
    await module_action(frame, name, "swap", _serving(frame, name))


async def _verify(frame: Frame, name: str) -> None:
    node = _serving(frame, name)
    await said(
        lambda: frame.services.act(frame.who, "verify", node=node, module=name, repair=False),
        "The copies are being compared.",
    )


def _serving(frame: Frame, name: str) -> str:
    snapshot = frame.services.watch.now()
    found = [n.node for n, m in snapshot.objects(name) if m and m["state"] in SERVING]
    return found[0] if found else snapshot.here


def _charts(frame: Frame, name: str) -> tuple[Chart, ...]:
    points = frame.services.watch.history.points(_serving(frame, name), name)
    return charts(points, time.time())


def _timeline(frame: Frame, name: str) -> tuple[tuple[str, tuple[Band, ...]], ...]:
    watch, now = frame.services.watch, time.time()
    return tuple(
        (n.node, bands(watch.history.changes(n.node, name), now)) for n in watch.now().nodes
    )


def _why(frame: Frame, name: str) -> None:
    """The decisions of both nodes; asked while the page is open."""

    async def ask() -> str:
        found = await frame.records("why", "decisions", module=name, limit=12)
        found.sort(key=lambda d: float(d["at"]), reverse=True)
        return _decisions(found[:14])

    with ui.element("section").classes("tf-panel"):
        ui.html("<h2>Why</h2>", sanitize=False)
        frame.asked(ask, WHY_EVERY_S)


def _decisions(found: list[Object]) -> str:
    if not found:
        return '<p class="tf-quiet">Nothing was decided yet.</p>'
    rows = "".join(
        f"<li><time>{time.strftime('%H:%M:%S', time.localtime(float(d['at'])))}</time>"
        f"<b>{escape(str(d['node']))}</b> "
        f'<span class="tf-moved">{escape(moved(d))}</span> {escape(str(d["sentence"]))}</li>'
        for d in found
    )
    return f'<ol class="tf-why">{rows}</ol>'


@ui.page("/log")
def log(request: Request) -> None:
    frame = Frame(request, "/log", "Log")
    watch = frame.services.watch
    wanted = Filter.of(request.query_params)
    snapshot = watch.now()
    nodes = [n.node for n in snapshot.nodes]
    ui.html(
        '<form class="tf-filter" method="get" action="/log">'
        + _choice("module", "Module", ["", *snapshot.module_names()], wanted.module)
        + _choice("node", "Node", ["", *nodes], wanted.node)
        + _choice("severity", "Severity", ["", "info", "alarm"], wanted.severity)
        + f'<label>Text<input name="text" value="{escape(wanted.text, quote=True)}"></label>'
        + '<button type="submit">Filter</button></form>',
        sanitize=False,
    )
    with ui.element("section").classes("tf-panel"):
        frame.live(lambda: drawing.log(lines(watch.entries, wanted)))


def _choice(name: str, label: str, values: list[str], chosen: str) -> str:
    options = "".join(
        f'<option value="{escape(v, quote=True)}"{" selected" if v == chosen else ""}>'
        f"{escape(v) or 'all'}</option>"
        for v in values
    )
    return f'<label>{label}<select name="{name}">{options}</select></label>'
