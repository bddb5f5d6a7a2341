"""Two directory trees, difference by difference: are the copies identical?

Compared: names, types, content, owner, mode, modification time, link targets, device numbers,
extended attributes (ACLs are among them), which names are hard links of one file, and holes *as
data*: two files with the same bytes are equal even if one stores its zeros. Not compared, because
no copy can have them equal: inode numbers, access and change times, extents.

Trees that one hand writes while the other compares differ by nature: stop the writers first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# The engine's own place for files that are deleted but still open: not part of the tree.
ASIDE = ".twofold-aside"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Difference:
    """`what` is one of: missing_left, missing_right, type, content, size, owner, mode, mtime,
    link, device, xattr, hardlinks."""

    path: str
    what: str
    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}: {self.left} | {self.right}"


@dataclass
class Comparison:
    entries: int = 0
    bytes_compared: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])

    @property
    def identical(self) -> bool:
        return not self.differences


@dataclass
class _Side:
    """One tree: its root, and the names of each of its files, for hard links."""

    root: Path
    names: dict[tuple[int, int], list[str]] = field(
        default_factory=dict[tuple[int, int], list[str]]
    )

    def note(self, status: os.stat_result, shown: str) -> None:
        self.names.setdefault((status.st_dev, status.st_ino), []).append(shown)

    def linked(self) -> set[frozenset[str]]:
        return {frozenset(names) for names in self.names.values() if len(names) > 1}


def compare_trees(left: Path, right: Path, limit: int = 1000) -> Comparison:
    """Compare the trees below two directories, themselves included.

    Stops looking after `limit` differences. Names may have any byte (kept as surrogates).
    """
    result = Comparison()
    sides = _Side(left), _Side(right)
    for path in _all_names(left, right):
        if len(result.differences) >= limit:
            break
        result.entries += 1
        result.differences += _compare_entry(*sides, path, result)
    result.differences += _compare_hard_links(*sides)
    return result


def _all_names(left: Path, right: Path) -> Iterator[Path]:
    """Every relative path of either tree, a directory before what is in it."""
    waiting = [Path()]
    while waiting:
        path = waiting.pop()
        yield path
        names: set[str] = set()
        for place in (left / path, right / path):
            if not place.is_symlink() and place.is_dir():
                names.update(entry.name for entry in place.iterdir())
        if path == Path():
            names.discard(ASIDE)
        waiting += [path / name for name in sorted(names, reverse=True)]


def _compare_entry(left: _Side, right: _Side, path: Path, result: Comparison) -> list[Difference]:
    shown = str(path)
    place_left, place_right = left.root / path, right.root / path
    status_left, status_right = _status(place_left), _status(place_right)
    if status_left is None or status_right is None:
        what = "missing_left" if status_left is None else "missing_right"
        return [Difference(shown, what, _type(status_left), _type(status_right))]
    if stat.S_IFMT(status_left.st_mode) != stat.S_IFMT(status_right.st_mode):
        return [Difference(shown, "type", _type(status_left), _type(status_right))]
    if not stat.S_ISDIR(status_left.st_mode):
        left.note(status_left, shown)
        right.note(status_right, shown)
    found = _compare_attributes(shown, status_left, status_right)
    found += _compare_xattrs(shown, place_left, place_right)
    if stat.S_ISLNK(status_left.st_mode):
        targets = place_left.readlink(), place_right.readlink()
        if targets[0] != targets[1]:
            found.append(Difference(shown, "link", str(targets[0]), str(targets[1])))
    elif stat.S_ISREG(status_left.st_mode):
        found += _compare_content(shown, place_left, place_right, result)
    return found


def _status(place: Path) -> os.stat_result | None:
    try:
        return place.lstat()
    except FileNotFoundError:
        return None


def _type(status: os.stat_result | None) -> str:
    return "nothing" if status is None else stat.filemode(status.st_mode)


def _compare_attributes(
    shown: str, left: os.stat_result, right: os.stat_result
) -> list[Difference]:
    pairs = [
        ("owner", f"{left.st_uid}:{left.st_gid}", f"{right.st_uid}:{right.st_gid}"),
        ("mode", f"{stat.S_IMODE(left.st_mode):o}", f"{stat.S_IMODE(right.st_mode):o}"),
        ("mtime", str(left.st_mtime_ns), str(right.st_mtime_ns)),
    ]
    if stat.S_ISBLK(left.st_mode) or stat.S_ISCHR(left.st_mode):
        pairs.append(("device", str(left.st_rdev), str(right.st_rdev)))
    return [Difference(shown, what, one, two) for what, one, two in pairs if one != two]


def _compare_xattrs(shown: str, left: Path, right: Path) -> list[Difference]:
    one, two = _xattrs(left), _xattrs(right)
    return [
        Difference(shown, "xattr", f"{name}={one.get(name)!r}", f"{name}={two.get(name)!r}")
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    ]


def _xattrs(place: Path) -> dict[str, bytes]:
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(place, name, follow_symlinks=False) for name in names}


def _compare_content(shown: str, left: Path, right: Path, result: Comparison) -> list[Difference]:
    with left.open("rb", buffering=0) as one, right.open("rb", buffering=0) as two:
        sizes = os.fstat(one.fileno()).st_size, os.fstat(two.fileno()).st_size
        if sizes[0] != sizes[1]:
            return [Difference(shown, "size", str(sizes[0]), str(sizes[1]))]
        offset = 0
        while True:
            start = min(_next_data(one.fileno(), offset), _next_data(two.fileno(), offset))
            if start >= sizes[0]:
                return []
            wanted = min(_CHUNK_BYTES, sizes[0] - start)
            here = os.pread(one.fileno(), wanted, start)
            there = os.pread(two.fileno(), wanted, start)
            result.bytes_compared += wanted
            if here != there:
                return [_first_difference(shown, start, here, there)]
            offset = start + wanted


def _first_difference(shown: str, start: int, here: bytes, there: bytes) -> Difference:
    both = zip(here, there, strict=False)
    first = next((at for at, (one, two) in enumerate(both) if one != two), 0)
    left, right = here[first : first + 8].hex(), there[first : first + 8].hex()
    return Difference(
        shown, "content", f"at {start + first}: {left}", f"at {start + first}: {right}"
    )


def _next_data(descriptor: int, offset: int) -> int:
    """The next byte that is not in a hole; holes are zeros on both sides and need no reading."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:
        return os.fstat(descriptor).st_size


def _compare_hard_links(left: _Side, right: _Side) -> list[Difference]:
    groups_left, groups_right = left.linked(), right.linked()
    found: list[Difference] = []
    for group in sorted(groups_left ^ groups_right, key=sorted):
        here = "one file" if group in groups_left else "not one file"
        there = "one file" if group in groups_right else "not one file"
        found.append(Difference(", ".join(sorted(group)), "hardlinks", here, there))
    return found
