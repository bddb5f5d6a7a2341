"""The modules of this node as directories: written whole or not at all, taken away, put back.

A module is written aside under `modules/.new-NAME` and exchanged with the one there, in one step:
a power cut leaves the old or the new. What was there before is kept under `modules/.old-NAME` until
the next time, so that an apply that fails on the other node can be undone on this one. Names that
begin with a dot are no modules.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from twofold.adapters.pki import write_file
from twofold.config.load import check_module_name

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def write_module(etc: Path, name: str, files: Mapping[str, tuple[int, bytes]]) -> None:
    """Replace the module's directory by `files`."""
    aside = _emptied(etc, name, "new")
    for path, (mode, content) in files.items():
        write_file(aside / path, content, mode)
    current = etc / "modules" / name
    if current.exists() and _exchanged(aside, current):
        kept = _emptied(etc, name, "old")
        kept.rmdir()
        aside.rename(kept)
    else:
        _set_aside(etc, name)
        aside.rename(current)
    _sync(etc / "modules")


def remove_module(etc: Path, name: str) -> None:
    check_module_name(name)
    _set_aside(etc, name)
    _sync(etc / "modules")


def restore_module(etc: Path, name: str) -> None:
    """Undo the last `write_module` or `remove_module`."""
    check_module_name(name)
    kept = etc / "modules" / f".old-{name}"
    current = etc / "modules" / name
    if current.exists():
        shutil.rmtree(current)
    if kept.exists():
        kept.rename(current)
    _sync(etc / "modules")


def _exchanged(one: Path, two: Path) -> bool:
    """Swap two directories at once; False where the file system cannot."""
    here = ctypes.c_int(_AT_FDCWD)
    names = os.fsencode(one), os.fsencode(two)
    return _LIBC.renameat2(here, names[0], here, names[1], _RENAME_EXCHANGE) == 0


def _set_aside(etc: Path, name: str) -> None:
    kept = _emptied(etc, name, "old")
    current = etc / "modules" / name
    if current.exists():
        kept.rmdir()
        current.rename(kept)
    else:
        kept.rmdir()


def _emptied(etc: Path, name: str, what: str) -> Path:
    check_module_name(name)
    path = etc / "modules" / f".{what}-{name}"
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(mode=0o755, parents=True)
    return path


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
