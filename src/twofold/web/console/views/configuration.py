"""What a change of a configuration would do, and the difference of two versions, as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from twofold.config.problem import Placed, placed
from twofold.web.console.views import words
from twofold.web.watch import Object

Kind = Literal["added", "removed", "same", "head"]

# When an effect counts, in the order in which it is told.
WHEN = {
    "now": "Counts at once",
    "next_start": "Counts when the module next starts: stop and start it on its page",
    "stopped": "Only while the module is stopped",
}
_LANGUAGES = {".toml": "TOML", ".py": "Python", ".sql": "SQL", ".json": "JSON", ".yaml": "YAML"}


@dataclass(frozen=True)
class Opinion:
    """What the nodes say to a text, before anything is kept."""

    problems: tuple[Placed, ...]
    effects: tuple[tuple[str, tuple[str, ...]], ...]  # when it counts -> what changes

    @property
    def good(self) -> bool:
        return not self.problems


def opinion(answer: Object) -> Opinion:
    problems = tuple(dict.fromkeys(placed(str(p)) for p in answer.get("problems", ())))
    return Opinion(problems, effects(answer.get("effects", ())))


def refused(sentence: str) -> Opinion:
    """A refusal that came before the nodes were asked: one problem on each line."""
    found = [placed(line) for line in sentence.splitlines() if line.strip()]
    return Opinion(tuple(found), ())


def effects(found: Iterable[dict[str, Any]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The nodes say the same mostly: each text once."""
    by_when: dict[str, dict[str, None]] = {}
    for effect in found:
        text = str(effect.get("text") or _changed(effect))
        by_when.setdefault(str(effect.get("when")), {})[text] = None
    known = [w for w in WHEN if w in by_when]
    return tuple((WHEN[w], tuple(by_when[w])) for w in known)


def _changed(effect: dict[str, Any]) -> str:
    before, after = effect.get("before"), effect.get("after")
    return f"{effect.get('key')} from {before} to {after}"


def diff_lines(differences: Iterable[dict[str, Any]]) -> tuple[tuple[Kind, str], ...]:
    """Unified diffs of all files, each line with its kind."""
    shown: list[tuple[Kind, str]] = []
    for difference in differences:
        shown.append(("head", f"{difference.get('file', '')} {difference.get('what', '')}".strip()))
        for line in str(difference.get("lines", "")).splitlines():
            if line.startswith(("+++", "---")):
                continue
            kind: Kind = "same"
            if line.startswith("+"):
                kind = "added"
            elif line.startswith("-"):
                kind = "removed"
            shown.append((kind, line))
    return tuple(shown)


def language_of(path: str, text: str) -> str:
    """For the colours of the editor."""
    for ending, language in _LANGUAGES.items():
        if path.endswith(ending):
            return language
    return "Python" if "python" in text.partition("\n")[0] else "Shell"


@dataclass(frozen=True)
class VersionRow:
    number: int
    current: bool
    at: str
    by: str
    why: str
    removed: bool


def versions(answer: Object, now: float) -> tuple[VersionRow, ...]:
    """Newest first."""
    return tuple(
        VersionRow(
            int(v["number"]),
            bool(v.get("current")),
            words.clock(float(v.get("at") or 0), now),
            str(v.get("by") or ""),
            str(v.get("why") or ""),
            bool(v.get("removed")),
        )
        for v in reversed(answer.get("versions", []))
    )


@dataclass(frozen=True)
class Field:
    """A variable of a library module, as a field of a form."""

    name: str
    help: str
    value: str
    needed: bool


def fields(variables: Mapping[str, tuple[str | None, str]]) -> tuple[Field, ...]:
    """What must be given comes first."""
    found = [
        Field(name, help_, default or "", default is None)
        for name, (default, help_) in variables.items()
    ]
    return tuple(sorted(found, key=lambda f: not f.needed))
