"""From views to HTML, as text. Pure. Everything that comes from outside goes through `escape`."""

from __future__ import annotations

from html import escape

from twofold.web.console.views.card import Box, Card, Progress
from twofold.web.console.views.charts import HEIGHT, WIDTH, Band, Chart
from twofold.web.console.views.log import Line

_ARROWS = {"right": "⟶", "left": "⟵", "broken": "✕", "none": ""}


def cards(shown: tuple[Card, ...]) -> str:
    if not shown:
        return (
            '<div class="tf-empty"><h2>No module yet</h2><p>A module is one application that is '
            "made highly available. An administrator adds one from the library: "
            '<a href="/configuration/new">New module</a>, or on a node '
            "<code>twofold module add</code>.</p>"
            "</div>"
        )
    return f'<div class="tf-cards">{"".join(card(c, True) for c in shown)}</div>'


def card(c: Card, linked: bool) -> str:
    name = escape(c.module)
    title = f'<a href="/module/{name}">{name}</a>' if linked else name
    advice = f'<p class="tf-advice">{escape(c.advice)}</p>' if c.advice else ""
    return (
        f'<article class="tf-card tone-{c.tone}" data-module="{name}">'
        f'<header><h2>{title}</h2><span class="tf-kind">{escape(c.kind)}</span>'
        f'<span class="tf-badge tone-{c.tone}">{escape(c.badge)}</span></header>'
        f'<p class="tf-sentence">{escape(c.sentence)}</p>{advice}'
        f"{_pair(c)}{_progress(c.progress)}{_facts(c)}</article>"
    )


def _pair(c: Card) -> str:
    middle = (
        f'<div class="tf-arrow tone-{c.arrow_tone}" aria-label="replication {c.arrow}">'
        f"<span>{_ARROWS[c.arrow]}</span><small>{escape(c.arrow_text)}</small></div>"
    )
    return f'<div class="tf-pair">{middle.join(_box(b) for b in c.boxes)}</div>'


def _box(b: Box) -> str:
    since = f'<span class="tf-since">{escape(b.since)}</span>' if b.since else ""
    facts = "".join(
        f'<li class="{"ok" if f.good else "no"}">{escape(f.name)}'
        f"{': ' + escape(f.text) if f.text else ''}</li>"
        for f in b.facts
    )
    warnings = "".join(f'<li class="warn">{escape(w)}</li>' for w in b.warnings)
    marks = f'<ul class="tf-facts">{facts}{warnings}</ul>' if facts or warnings else ""
    state = escape(b.state) if b.state else "OFF"
    return (
        f'<section class="tf-box tone-{b.tone}" data-node="{escape(b.node)}" data-state="{state}">'
        f'<h3>{escape(b.node)}<span class="tf-state tone-{b.tone}">{state}</span></h3>'
        f'<p class="tf-word">{escape(b.word)}{since}</p><p>{escape(b.sentence)}</p>'
        f"{marks}</section>"
    )


def _progress(p: Progress | None) -> str:
    if p is None:
        return ""
    width = "100" if p.percent is None else f"{p.percent:.1f}"
    unknown = " unknown" if p.percent is None else ""
    return (
        f'<div class="tf-progress{unknown}"><div class="tf-bar">'
        f'<i style="width:{width}%"></i></div>'
        f"<span>{escape(p.text)}</span></div>"
    )


def _facts(c: Card) -> str:
    pairs = [
        ("Address", c.address),
        ("Replicated", c.pace),
        ("Unacknowledged", c.lag),
        ("Last event", c.last_event),
    ]
    shown = "".join(
        f"<div><dt>{label}</dt><dd>{escape(text)}</dd></div>" for label, text in pairs if text
    )
    return f'<dl class="tf-numbers">{shown}</dl>' if shown else ""


def log(lines: tuple[Line, ...]) -> str:
    if not lines:
        return '<div class="tf-empty"><p>Nothing was noted that fits.</p></div>'
    rows: list[str] = []
    for line in lines:
        if line.day:
            rows.append(f'<h3 class="tf-day">{escape(line.day)}</h3>')
        moved = f'<b class="tf-moved">{escape(line.moved)}</b> ' if line.moved else ""
        module = f"<span>{escape(line.module)}</span>" if line.module else "<span>node</span>"
        rows.append(
            f'<div class="tf-line{" alarm" if line.alarm else ""}"><time>{line.time}</time>'
            f'<span class="tf-where"><b>{escape(line.node)}</b>{module}</span>'
            f"<p>{moved}{escape(line.sentence)}</p></div>"
        )
    return f'<div class="tf-log">{"".join(rows)}</div>'


def charts(shown: tuple[Chart, ...]) -> str:
    parts: list[str] = []
    for chart in shown:
        fill = (
            f'<path class="area" d="{chart.path} V{HEIGHT:.0f} H{_first(chart.path)} Z"/>'
            f'<path class="line" d="{chart.path}"/>'
            if chart.path
            else ""
        )
        parts.append(
            f'<figure class="tf-chart"><figcaption>{escape(chart.title)}'
            f"<b>{escape(chart.latest)}</b></figcaption>"
            f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(chart.title)}, ten minutes">{fill}</svg>'
            f"<small><span>10 min ago</span><span>up to {escape(chart.top)}</span>"
            "<span>now</span></small></figure>"
        )
    return f'<div class="tf-charts">{"".join(parts)}</div>'


def _first(path: str) -> str:
    return path[1:].split(",", 1)[0]


def timeline(rows: tuple[tuple[str, tuple[Band, ...]], ...]) -> str:
    shown = "".join(
        f'<div class="tf-band"><b>{escape(node)}</b><div>'
        + "".join(
            f'<i class="state-{escape(b.state)}" style="left:{b.left}%;width:{b.width}%" '
            f'title="{escape(b.title)}"><span>{escape(b.state) if b.width > 9 else ""}</span></i>'
            for b in bands
        )
        + "</div></div>"
        for node, bands in rows
    )
    return (
        f'<div class="tf-timeline">{shown}<small><span>10 min ago</span><span>now</span></small>'
        "</div>"
    )


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]], empty: str = "") -> str:
    """Cells are HTML already; use `escape`."""
    if not rows:
        return f'<p class="tf-quiet">{escape(empty)}</p>'
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-head="{escape(h)}"><div>{c}</div></td>'
            for h, c in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table class="tf-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
