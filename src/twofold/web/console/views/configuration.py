"""What a change of a configuration would do, and the difference of two versions, as lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from twofold.web.console.views.cluster import day
from twofold.web.watch import Object

Kind = Literal["added", "removed", "same"]


@dataclass(frozen=True)
class Opinion:
    """What the nodes say to a text, before anything is kept."""

    problems: tuple[str, ...]
    effects: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.problems


def opinion(answer: Object) -> Opinion:
    effects: dict[str, None] = {}
    for effect in answer.get("effects", ()):
        text = str(effect.get("text") or _changed(effect))
        node = effect.get("node")
        effects[f"{node}: {text}" if node else text] = None
    return Opinion(tuple(str(p) for p in answer.get("problems", ())), tuple(effects))


def _changed(effect: dict[str, Any]) -> str:
    before, after = effect.get("before"), effect.get("after")
    return f"{effect.get('key')} from {before} to {after} ({effect.get('when')})"


def diff_lines(differences: Iterable[dict[str, Any]]) -> tuple[tuple[Kind, str], ...]:
    """Unified diffs of all files, each line with its kind."""
    shown: list[tuple[Kind, str]] = []
    for difference in differences:
        for line in str(difference.get("lines", "")).splitlines():
            kind: Kind = "same"
            if line.startswith("+") and not line.startswith("+++"):
                kind = "added"
            elif line.startswith("-") and not line.startswith("---"):
                kind = "removed"
            shown.append((kind, line))
    return tuple(shown)


@dataclass(frozen=True)
class VersionRow:
    number: int
    current: bool
    at: str
    by: str
    why: str


def versions(answer: Object) -> tuple[VersionRow, ...]:
    """Newest first."""
    return tuple(
        VersionRow(
            int(v["number"]),
            bool(v.get("current")),
            day(float(v.get("at") or 0)),
            str(v.get("by") or ""),
            str(v.get("why") or ""),
        )
        for v in reversed(answer.get("versions", []))
    )
