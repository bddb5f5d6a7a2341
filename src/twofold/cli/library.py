"""The module library: ready modules that come with Twofold, and modules from a directory.

A library module is a directory with module.toml and scripts; what differs from site to site is a
variable. The library is package data (`twofold/library`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import twofold
from twofold.config.load import MODULE_FILE, module_files, nearest
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
        variables: dict[str, tuple[str | None, str]] = {}
        for key, value in raw.get("variables", {}).items():
            if isinstance(value, dict):
                variables[key] = (value.get("default"), str(value.get("help", "")))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            else:
                variables[key] = (str(value), "")
        yield LibraryModule(
            file.parent.name, str(raw.get("module", {}).get("description", "")), variables
        )


def files_from(source: str) -> dict[str, tuple[int, bytes]]:
    """The files of a library module, or of a directory when `source` looks like a path."""
    directory = Path(source) if "/" in source or source == "." else LIBRARY / source
    if not (directory / MODULE_FILE).is_file():
        if directory.parent == LIBRARY:
            names = [m.name for m in library()]
            raise OperatorError(
                f"the library has no module {source!r}",
                nearest(source, names)
                or f"It has {', '.join(names)}; or give a directory: --from ./DIRECTORY",
            )
        raise OperatorError(f"{directory / MODULE_FILE} does not exist", "Write it first.")
    return module_files(directory)
