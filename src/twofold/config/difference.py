"""Two versions of files side by side: which differ, and their lines as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

Files = Mapping[str, tuple[int, bytes]]

LINES_MAX = 2000


@dataclass(frozen=True)
class Difference:
    file: str
    what: str  # added, removed, changed
    lines: str  # unified diff; one sentence where it is not text or too long


def differences(
    before: Files | None, after: Files | None, old: str = "before", new: str = "after"
) -> list[Difference]:
    """What `after` changes against `before`; None is a target that is not there."""
    one, two = before or {}, after or {}
    found: list[Difference] = []
    for path in sorted(one.keys() | two.keys()):
        if one.get(path) == two.get(path):
            continue
        what = "added" if path not in one else "removed" if path not in two else "changed"
        found.append(Difference(path, what, _lines(path, one, two, old, new)))
    return found


def _lines(path: str, one: Files, two: Files, old: str, new: str) -> str:
    empty = (0o644, b"")
    (mode_one, content_one), (mode_two, content_two) = one.get(path, empty), two.get(path, empty)
    head = "" if mode_one == mode_two or path not in one or path not in two else (
        f"mode {mode_one:o} becomes {mode_two:o}\n"
    )  # fmt: skip
    try:
        old_lines = content_one.decode("utf-8").splitlines()
        new_lines = content_two.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return f"{head}{len(content_one)} bytes become {len(content_two)} bytes\n"
    names = f"{path} ({old})", f"{path} ({new})"
    lines = list(difflib.unified_diff(old_lines, new_lines, *names, lineterm=""))
    if len(lines) > LINES_MAX:
        return f"{head}{len(lines)} lines differ\n"
    return head + "".join(f"{line}\n" for line in lines)
