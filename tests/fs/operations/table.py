"""The table of operations, and how a result is told: plain values, errors by their names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

Operation = Callable[[Path], object]
OPERATIONS: dict[str, Operation] = {}
# These take seconds: one of the two policies is enough.
LARGE: set[str] = set()
# These take a minute: they have a run of their own.
LASTING: dict[str, Operation] = {}


def operation(function: Operation) -> Operation:
    assert function.__name__ not in OPERATIONS, function.__name__
    OPERATIONS[function.__name__] = function
    return function


def large(function: Operation) -> Operation:
    LARGE.add(function.__name__)
    return operation(function)


def lasting(function: Operation) -> Operation:
    LASTING[function.__name__] = function
    return function


def attempt(work: Callable[[], object]) -> object:
    """What it returns, or the name of its error."""
    try:
        return work()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def opened(path: Path | bytes, flags: int, mode: int = 0o644) -> object:
    """Opens and closes: nothing to tell, or the name of the error."""

    def work() -> None:
        os.close(os.open(path, flags, mode))

    return attempt(work)


def shown(path: Path) -> tuple[object, ...]:
    """What `ls -l` would tell, without times."""
    try:
        told = path.lstat()
    except OSError as error:
        return (errno.errorcode[error.errno or 0],)
    size = told.st_size if not stat.S_ISDIR(told.st_mode) else None
    kind = stat.filemode(told.st_mode)
    return (kind, told.st_nlink, told.st_uid, told.st_gid, size, told.st_rdev)


def listing(root: Path) -> list[tuple[str, tuple[object, ...]]]:
    """Every name below, with what `ls -l` tells of it."""
    names = sorted(root.rglob("*"), key=os.fsencode)
    return [(str(path.relative_to(root)), shown(path)) for path in names]
