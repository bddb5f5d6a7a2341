"""One thing that is wrong in the configuration, and the error made of several.

A problem has a place (path of keys), a text (what is wrong) and a mend (what would be right). The
error text shows one line for each: `module.toml line 12, column 1: there is no key "servce" ...`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from twofold.config.locate import Path, find
from twofold.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """`path` is a place in the file; `place` its reading for people, once located."""

    path: Path
    text: str
    mend: str = ""
    place: str = ""

    def sentence(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


def located(problems: Iterable[Problem], file: str, text: str) -> list[Problem]:
    """The problems with file, line and column."""
    found: list[Problem] = []
    for problem in problems:
        position = find(text, problem.path)
        where = f" line {position.line}, column {position.column}" if position else ""
        found.append(replace(problem, place=f"{file}{where}"))
    return found


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one `ConfigError` for all problems, or return when there are none."""
    every = list(problems)
    if not every:
        return
    if len(every) == 1:
        raise ConfigError(every[0].sentence(), every[0].mend)
    lines = [f"{p.sentence()}. {p.mend}".rstrip() for p in every]
    raise ConfigError("\n".join(lines))


_PLACED = re.compile(
    r"(?P<file>\S+)(?: line (?P<line>\d+)(?:, column (?P<column>\d+))?)?: (?P<text>.*)"
)


@dataclass(frozen=True)
class Placed:
    """A problem as it reads, with its place for programs; None where it has none."""

    text: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


def placed(sentence: str) -> Placed:
    """The place in a sentence of `located`: a node says its problems in sentences."""
    found = _PLACED.match(sentence)
    if found is None or not found["file"].endswith(".toml"):
        return Placed(sentence)
    line, column = found["line"], found["column"]
    return Placed(
        found["text"], found["file"], int(line) if line else None, int(column) if column else None
    )


def as_written(sentence: str, written: str, completed: str) -> str:
    """The places of a problem in `completed` as they are in what a person wrote.

    A module.toml is completed before it is checked: lines are added (its port, its nodes), values
    are set. What stands in an added line has no line in the file that the person looks at.
    """
    lines = _lines_of(written.splitlines(), completed.splitlines())

    def placed_again(found: re.Match[str]) -> str:
        line = lines.get(int(found["line"]))
        return f"{found['file']} line {line}{found['column']}" if line else found["file"]

    return _PLACE.sub(placed_again, sentence)


def _lines_of(written: list[str], completed: list[str]) -> dict[int, int]:
    """For each line of `completed`, counted from 1, the line of `written` that it was."""
    found: dict[int, int] = {}
    matcher = difflib.SequenceMatcher(None, written, completed, autojunk=False)
    for kind, start, end, start_there, end_there in matcher.get_opcodes():
        if kind in ("equal", "replace"):
            pairs = zip(range(start_there, end_there), range(start, end), strict=False)
            found |= {there + 1: here + 1 for there, here in pairs}
    return found


_PLACE = re.compile(r"(?P<file>\S*module\.toml) line (?P<line>\d+)(?P<column>, column \d+)?")
