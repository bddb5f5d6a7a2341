"""Where in a TOML text a key stands, so that an error can say line and column.

tomllib gives values without positions. This is a second, forgiving reader of the same text: it
only has to find keys in text that tomllib has already accepted. A place is a path of keys and list
indexes, `("service", 1, "name")`, exactly as pydantic names the place of an error.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from dataclasses import dataclass

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = re.compile(
    r'"{3}(?:\\.|[^\\])*?"{3,5}'
    r"|'{3}.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_PLAIN_VALUE = re.compile(r"[^,\]}\n#]*")


@dataclass(frozen=True)
class Position:
    """Both count from 1."""

    line: int
    column: int


def locate(text: str) -> dict[Path, Position]:
    """The position of every key, table header and list element of a valid TOML text."""
    return _Reader(text).read()


def find(text: str, path: Path) -> Position | None:
    """The position of `path`, or of the nearest table around it."""
    places = locate(text)
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return None


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line_starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.places: dict[Path, Position] = {}
        self.counts: dict[Path, int] = {}  # elements seen of each [[array of tables]]

    def read(self) -> dict[Path, Position]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self.at >= len(self.text):
                return self.places
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._assignment(table)

    def _header(self) -> Path:
        start = self.at
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        keys = self._keys()
        self.at = self.text.find("]", self.at) + (2 if array else 1)
        path = self._inside_arrays(keys[:-1])
        path = (*path, keys[-1]) if array else self._inside_arrays(keys)
        if array:
            index = self.counts.get(path, -1) + 1
            self.counts[path] = index
            self._mark(path, start)
            path = (*path, index)
        self._mark(path, start)
        return path

    def _inside_arrays(self, keys: tuple[str, ...]) -> Path:
        """`a.b` below `[[a]]` means the last element of a."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def _assignment(self, table: Path) -> None:
        start = self.at
        path = (*table, *self._keys())
        for length in range(len(table) + 1, len(path) + 1):
            self._mark(path[:length], start)
        self._skip(_SPACE)
        self.at += 1  # the "="
        self._value(path)

    def _keys(self) -> tuple[str, ...]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = _STRINGS.match(self.text, self.at)
            match = quoted or _BARE_KEY.match(self.text, self.at)
            assert match is not None, "the text was accepted by tomllib before"
            self.at = match.end()
            keys.append(_unquoted(match[0]) if quoted else match[0])
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return tuple(keys)
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        opener = self.text[self.at : self.at + 1]
        string = _STRINGS.match(self.text, self.at)
        if string is not None:
            self.at = string.end()
        elif opener == "[":
            self._elements(path)
        elif opener == "{":
            self._inline_table(path)
        else:
            self._skip(_PLAIN_VALUE)

    def _elements(self, path: Path) -> None:
        self.at += 1
        for index in range(len(self.text)):
            self._skip(_BLANK)
            if self.text[self.at] == "]":
                break
            self._mark((*path, index), self.at)
            self._value((*path, index))
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == "}":
                break
            self._assignment(path)
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _mark(self, path: Path, at: int) -> None:
        line = bisect.bisect_right(self.line_starts, at)
        self.places.setdefault(path, Position(line, at - self.line_starts[line - 1] + 1))


def _unquoted(key: str) -> str:
    return str(next(iter(tomllib.loads(f"{key} = 0"))))
