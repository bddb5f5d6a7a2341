"""The last versions of each module and of cluster.toml: what it was, who changed it, when and why.

A *target* is a module's name or `cluster.toml`. Its versions are files under
`VAR/versions/TARGET/NUMBER.json`, each written whole (aside, synced, renamed), readable by root
alone since a configuration may hold passwords. Numbers count up and are the same on all nodes:
the node that leads a change gives them out. The newest `KEPT` are kept; a module that was removed
is a version too, without files, so that it can be brought back.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.adapters.pki import write_file
from twofold.config.load import check_module_name, digest_of
from twofold.errors import CommandRefused, NotThere, TwofoldError
from twofold.wire.files import Files, pack, unpack

CLUSTER = "cluster.toml"
KEPT = 10
TARGETS_MAX = 256


def named(target: str) -> str:
    """The target as a sentence names it, at its beginning too: names keep their small letters."""
    return f"the cluster's file {CLUSTER}" if target == CLUSTER else f"module {target}"


@dataclass(frozen=True)
class Version:
    """One version of one target; `files` is None where it was removed."""

    target: str
    id: str
    number: int
    at: float  # seconds since 1970
    by: str
    why: str
    node: str  # where the change was made
    files: Files | None

    @property
    def digest(self) -> str:
        return "" if self.files is None else digest_of(self.files)

    def to_data(self) -> dict[str, Any]:
        files = None if self.files is None else pack(self.files)
        return {**vars(self), "files": files}

    @staticmethod
    def from_data(data: Any) -> Version:
        """Raises `CommandRefused` for anything that is not one."""
        try:
            files = None if data["files"] is None else unpack(data["files"])
            version = Version(
                str(data["target"]),
                str(data["id"]),
                int(data["number"]),
                float(data["at"]),
                str(data["by"]),
                str(data["why"]),
                str(data["node"]),
                files,
            )
        except (KeyError, TypeError, ValueError):
            raise CommandRefused("a change of the configuration is not complete") from None
        check_target(version.target)
        return version

    def summary(self) -> dict[str, Any]:
        """All of it but the files."""
        kept = {k: v for k, v in vars(self).items() if k not in ("files", "target", "id")}
        return {**kept, "digest": self.digest, "removed": self.files is None}


def check_target(target: str) -> None:
    if target != CLUSTER:
        check_module_name(target)


class History:
    """The versions on this node."""

    def __init__(self, var: Path) -> None:
        self._root = var / "versions"

    def targets(self) -> tuple[str, ...]:
        if not self._root.is_dir():
            return ()
        return tuple(sorted(d.name for d in self._root.iterdir() if d.is_dir()))

    def versions(self, target: str) -> list[Version]:
        """Oldest first. One that cannot be read is left out: it is a record, not a truth."""
        found: list[Version] = []
        for file in self._files(target):
            with contextlib.suppress(OSError, ValueError, TwofoldError):
                found.append(Version.from_data(json.loads(file.read_text("utf-8"))))
        return found

    def last(self, target: str) -> Version | None:
        versions = self.versions(target)
        return versions[-1] if versions else None

    def version(self, target: str, number: int) -> Version:
        versions = self.versions(target)
        for version in versions:
            if version.number == number:
                return version
        known = ", ".join(str(v.number) for v in versions)
        raise NotThere(
            f"there is no version {number} of {target} on this node",
            f"There are {known}." if known else "There is none yet.",
        )

    def record(self, version: Version) -> None:
        """Durable when this returns."""
        check_target(version.target)
        self._make_room(version.target)
        text = json.dumps(version.to_data()).encode()
        write_file(self._root / version.target / f"{version.number:08}.json", text, 0o600)
        for old in list(self._files(version.target))[:-KEPT]:
            old.unlink(missing_ok=True)

    def forget(self, version: Version) -> None:
        """It did not come to pass."""
        file = self._root / version.target / f"{version.number:08}.json"
        file.unlink(missing_ok=True)

    def _files(self, target: str) -> Iterator[Path]:
        check_target(target)
        directory = self._root / target
        if directory.is_dir():
            yield from sorted(f for f in directory.glob("*.json") if f.stem.isdigit())

    def _make_room(self, target: str) -> None:
        """A bound on targets too: those removed longest ago go first."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self.targets()
        if target in known or len(known) < TARGETS_MAX:
            return
        gone = [v for t in known if (v := self.last(t)) is not None and v.files is None]
        for version in sorted(gone, key=lambda v: v.at)[: len(known) - TARGETS_MAX + 1]:
            shutil.rmtree(self._root / version.target, ignore_errors=True)
