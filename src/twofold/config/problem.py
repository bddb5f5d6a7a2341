"""One thing that is wrong in the configuration, and the error made of several.

A problem has a place (path of keys), a text (what is wrong) and a mend (what would be right). The
error text shows one line for each: `module.toml line 12, column 1: there is no key "servce" ...`.
"""

from __future__ import annotations

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

    Completing a module adds at most one line to its module.toml, the port; what stands below it
    is one line further up in the file that the person looks at.
    """
    before, after = written.splitlines(), completed.splitlines()
    if len(after) != len(before) + 1:
        return sentence
    # Values that were set stand in the same lines as before; the new line is where the rest shifts.
    added = next(
        (n for n, line in enumerate(after) if _PORT.match(line) and before[n : n + 1] != [line]),
        None,
    )
    if added is None:
        return sentence

    def shifted(found: re.Match[str]) -> str:
        line = int(found["line"])
        return f"{found['file']} line {line - 1 if line > added + 1 else line}"

    return _LINE.sub(shifted, sentence)


_PORT = re.compile(r"port = \d+$")
_LINE = re.compile(r"(?P<file>\S*module\.toml) line (?P<line>\d+)")
