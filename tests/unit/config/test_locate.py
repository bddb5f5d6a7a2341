"""Every key of a valid TOML text is found at its own line and column."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from twofold.config.library import LIBRARY
from twofold.config.locate import Position, find, locate

TEXT = '''# a comment = [
[module]
kind = "mirror"   # [not a table]

[[service]]
name = "one"
command = [
  "/bin/a", # first
  "]",
]
[[service]]
name = "two"
ready = { tcp = "127.0.0.1:1" }
environment.A = """
[x]
y = 1
"""
"quoted key" = 'a " b'
'''


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("module",), 2, 1),
        (("module", "kind"), 3, 1),
        (("service", 0), 5, 1),
        (("service", 0, "command", 0), 8, 3),
        (("service", 0, "command", 1), 9, 3),
        (("service", 1, "name"), 12, 1),
        (("service", 1, "ready", "tcp"), 13, 11),
        (("service", 1, "environment", "A"), 14, 1),
        (("service", 1, "quoted key"), 18, 1),
    ],
)
def test_places(path: tuple[str | int, ...], line: int, column: int) -> None:
    tomllib.loads(TEXT)
    assert locate(TEXT)[path] == Position(line, column)


def test_a_missing_key_is_shown_at_its_table() -> None:
    assert find(TEXT, ("service", 1, "command")) == Position(11, 1)
    assert find(TEXT, ("nothing",)) is None


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found: set[tuple[str | int, ...]] = {path} if path else set()
    if isinstance(value, dict):
        for k, v in value.items():  # pyright: ignore[reportUnknownVariableType]
            found |= paths_of(v, (*path, k))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list):
        for i, v in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            found |= paths_of(v, (*path, i))  # pyright: ignore[reportUnknownArgumentType]
    return found


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*/module.toml")), ids=lambda p: p.parent.name)
def test_nothing_in_the_library_is_without_a_place(file: Path) -> None:
    text = file.read_text()
    assert paths_of(tomllib.loads(text)) == set(locate(text))
