"""The log of all nodes in the order of time, filtered by what stands in the page's address."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twofold.web.watch import Object

SHOWN_MAX = 400


@dataclass(frozen=True)
class Filter:
    module: str = ""
    node: str = ""
    severity: str = ""
    text: str = ""

    @staticmethod
    def of(query: Mapping[str, str]) -> Filter:
        return Filter(*(query.get(k, "")[:64] for k in ("module", "node", "severity", "text")))

    def takes(self, entry: Object) -> bool:
        return (
            (not self.module or entry.get("module") == self.module)
            and (not self.node or entry.get("node") == self.node)
            and (not self.severity or entry.get("severity") == self.severity)
            and (not self.text or self.text.lower() in str(entry.get("sentence", "")).lower())
        )


@dataclass(frozen=True)
class Line:
    day: str  # "" when the line before has the same
    time: str
    node: str
    module: str
    alarm: bool
    moved: str  # "WAIT → PRIM" where a decision changed the state
    sentence: str


def lines(entries: Iterable[Object], wanted: Filter) -> tuple[Line, ...]:
    """Newest first."""
    chosen = [e for e in entries if wanted.takes(e)][-SHOWN_MAX:]
    shown: list[Line] = []
    day_before = ""
    for entry in reversed(chosen):
        moment = time.localtime(float(entry["at"]))
        day = time.strftime("%A, %d %B %Y", moment)
        shown.append(
            Line(
                "" if day == day_before else day,
                time.strftime("%H:%M:%S", moment),
                str(entry.get("node", "")),
                str(entry.get("module", "")),
                entry.get("severity") not in ("info", "", None),
                moved(entry),
                str(entry.get("sentence", "")),
            )
        )
        day_before = day
    return tuple(shown)


def moved(entry: Object) -> str:
    before, after = str(entry.get("state") or ""), str(entry.get("then") or "")
    return f"{before} → {after}" if before and after and before != after else ""
