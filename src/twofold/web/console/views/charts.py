"""Charts as values: a line of points in a box, and the states of a node as bands of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twofold.web.console.views import words
from twofold.web.history import Change, Point

SPAN_S = 600.0
WIDTH, HEIGHT = 600.0, 90.0


@dataclass(frozen=True)
class Chart:
    title: str
    latest: str
    top: str  # what the upper edge stands for
    path: str  # of an SVG, WIDTH by HEIGHT; "" without points


@dataclass(frozen=True)
class Band:
    state: str
    left: float  # percent of the span
    width: float
    title: str


def charts(points: Sequence[Point], now: float) -> tuple[Chart, ...]:
    """Throughput, operations and what waits, of the last ten minutes."""
    kept = [p for p in points if p.at > now - SPAN_S]
    rates = [(p.at, p.bytes_per_s) for p in kept]
    operations = [(p.at, p.operations_per_s) for p in kept]
    pending = [(p.at, float(p.pending)) for p in kept]
    return (
        _chart("Replicated", rates, now, words.rate, 1000.0),
        _chart("Writes a second", operations, now, lambda v: f"{v:.0f}/s", 10.0),
        _chart("Waiting for the other node", pending, now, lambda v: f"{v:.0f}", 10.0),
    )


def _chart(
    title: str,
    values: list[tuple[float, float]],
    now: float,
    text: Callable[[float], str],
    least_top: float,
) -> Chart:
    top = _round_up(max([v for _, v in values] + [least_top]))
    steps = [
        f"{WIDTH * (1 - (now - at) / SPAN_S):.1f},{HEIGHT * (1 - v / top):.1f}" for at, v in values
    ]
    path = "M" + " L".join(steps) if len(steps) > 1 else ""
    latest = text(values[-1][1]) if values else "nothing yet"
    return Chart(title, latest, text(top), path)


def _round_up(value: float) -> float:
    """1, 2 or 5 times a power of ten: a scale that does not jump about."""
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    return next(scale * f for f in (1, 2, 5, 10) if scale * f >= value)


def bands(changes: Sequence[Change], now: float, span_s: float = SPAN_S) -> tuple[Band, ...]:
    """The states of the last `span_s` seconds."""
    begin = now - span_s
    shown: list[Band] = []
    for i, change in enumerate(changes):
        end = changes[i + 1].at if i + 1 < len(changes) else now
        left, right = max(change.at, begin), min(end, now)
        if right > left:
            title = f"{change.state} {change.readiness} from {words.clock(change.at, now)}"
            shown.append(
                Band(
                    change.state,
                    round(100 * (left - begin) / span_s, 2),
                    round(100 * (right - left) / span_s, 2),
                    title,
                )
            )
    return tuple(shown)
