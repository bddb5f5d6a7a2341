"""What was: the last quarter of an hour of each module on each node, one point for each look.

The engine counts since it began; here rates are made of two looks. A counter that fell (a new
engine) begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

POINTS_MAX = 900
STATES_MAX = 200


@dataclass(frozen=True)
class Point:
    at: float
    bytes_per_s: float  # to the other node
    operations_per_s: float
    pending: int  # operations that the other node has not acknowledged
    resync_bytes_per_s: float | None


@dataclass(frozen=True)
class Change:
    """From `at` on the node was in this state."""

    at: float
    state: str
    readiness: str


@dataclass
class _Track:
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=STATES_MAX))
    last: tuple[float, int, int] | None = None  # at, bytes, operations


class History:
    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], _Track] = {}

    def add(self, node: str, modules: Sequence[dict[str, Any]], at: float) -> None:
        for module in modules:
            track = self._tracks.setdefault((node, str(module["module"])), _Track())
            _note_state(track, module, at)
            _note_traffic(track, module, at)

    def points(self, node: str, module: str) -> tuple[Point, ...]:
        track = self._tracks.get((node, module))
        return tuple(track.points) if track else ()

    def changes(self, node: str, module: str) -> tuple[Change, ...]:
        track = self._tracks.get((node, module))
        return tuple(track.changes) if track else ()


def _note_state(track: _Track, module: dict[str, Any], at: float) -> None:
    state, readiness = str(module.get("state")), str(module.get("readiness"))
    last = track.changes[-1] if track.changes else None
    if last is None or (last.state, last.readiness) != (state, readiness):
        begun = at if last is not None else at - float(module.get("since_s") or 0.0)
        track.changes.append(Change(begun, state, readiness))


def _note_traffic(track: _Track, module: dict[str, Any], at: float) -> None:
    traffic: dict[str, Any] | None = module.get("traffic")
    if not traffic:
        track.last = None
        return
    sent, count = int(traffic.get("bytes_sent", 0)), int(traffic.get("operations_sent", 0))
    last, track.last = track.last, (at, sent, count)
    if last is None or at <= last[0] or sent < last[1]:
        return
    seconds = at - last[0]
    resync: dict[str, Any] = module.get("resync") or {}
    pace = resync.get("bytes_per_s")
    track.points.append(
        Point(
            at,
            (sent - last[1]) / seconds,
            max(0, count - last[2]) / seconds,
            int(traffic.get("pending_operations", 0)),
            float(pace) if pace is not None else None,
        )
    )
