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
from twofold.wire.packed import ARCHIVE_BYTES_MAX, SUFFIX, unpacked

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


def read_archive(source: str) -> bytes:
    try:
        with Path(source).open("rb") as file:
            return file.read(ARCHIVE_BYTES_MAX + 1)
    except OSError as e:
        raise OperatorError(f"{source} cannot be read: {e.strerror}") from None


def named(name: str) -> LibraryModule:
    known = list(library())
    for module in known:
        if module.name == name:
            return module
    names = [m.name for m in known]
    raise OperatorError(
        f"the library has no module {name!r}", nearest(name, names) or f"It has {', '.join(names)}."
    )


def files_from(source: str) -> dict[str, tuple[int, bytes]]:
    """Of a library module; of a directory or packed module when `source` looks like a path."""
    if source.endswith(SUFFIX) or ("/" in source and Path(source).is_file()):
        return unpacked(read_archive(source), source)
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
