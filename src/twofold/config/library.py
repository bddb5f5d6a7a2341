"""The module library: ready modules that come with Twofold.

A library module is a directory with module.toml and scripts; what differs from site to site is a
variable. The library is package data (`twofold/library`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import twofold
from twofold.config.load import MODULE_FILE, nearest
from twofold.errors import OperatorError

LIBRARY = Path(twofold.__file__).parent / "library"


@dataclass(frozen=True)
class LibraryModule:
    name: str
    description: str
    variables: dict[str, tuple[str | None, str]]  # name -> (default or None, help)


def library() -> Iterator[LibraryModule]:
    for file in sorted(LIBRARY.glob(f"*/{MODULE_FILE}")):
        raw = tomllib.loads(file.read_text("utf-8"))
        yield LibraryModule(
            file.parent.name, str(raw.get("module", {}).get("description", "")), variables_of(raw)
        )


def variables_of(raw: Mapping[str, Any]) -> dict[str, tuple[str | None, str]]:
    """Default (None: it must be given) and help of each variable in a module.toml."""
    found: dict[str, tuple[str | None, str]] = {}
    section: object = raw.get("variables", {})
    for key, value in (cast(dict[str, Any], section) if isinstance(section, dict) else {}).items():
        if isinstance(value, dict):
            said = cast(dict[str, Any], value)
            default = said.get("default")
            found[key] = (None if default is None else str(default), str(said.get("help", "")))
        else:
            found[key] = (str(value), "")
    return found


def named(name: str) -> LibraryModule:
    known = list(library())
    for module in known:
        if module.name == name:
            return module
    names = [m.name for m in known]
    raise OperatorError(
        f"the library has no module {name!r}", nearest(name, names) or f"It has {', '.join(names)}."
    )
