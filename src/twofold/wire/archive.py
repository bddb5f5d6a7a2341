"""A snapshot as one archive: what is asked of which node, and how the answers are packed.

Nothing here asks anybody: `collecting` yields each question (`Ask`) and is sent the answers, so
that the command line and the web process collect in the same way. The archive is written while it
is collected: no more than one file of it is in memory. Whatever could not be had stands in
MISSING.txt by its name, and the rest goes on.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

from twofold.errors import TwofoldError
from twofold.wire import snapshot as table
from twofold.wire.lines import error_from

WHOLE_TIMEOUT_S = 300.0
NOTES_MAX = 20_000  # lines of REMOVED.txt, and of MISSING.txt
TOP = "twofold-snapshot"
SUFFIX = ".tar.gz"


class Writable(Protocol):
    """Where the archive goes."""

    def write(self, data: bytes, /) -> object: ...


class Archive:
    """A tar.gz that grows file by file, and what is to be told about it."""

    def __init__(self, out: Writable, made_at: float) -> None:
        self._tar = tarfile.TarFile.open(fileobj=cast(IO[bytes], out), mode="w|gz")
        self._made_at = int(made_at)
        self.files = 0
        self.removed: list[str] = []
        self.missing: list[str] = []
        self.silent: list[str] = []
        self._size_bytes = 0
        self._put("README.txt", table.readme().encode())

    def add(self, name: str, item: dict[str, Any]) -> None:
        content = str(item["text"]).encode("utf-8", "replace")
        if self._size_bytes + len(content) > table.ARCHIVE_BYTES_MAX:
            self.miss(f"{name}: left out, the archive is large enough")
            return
        self._size_bytes += len(content)
        self.files += 1
        self._put(name, content)
        self.removed += [f"{name}: {note}" for note in item["removed"]]
        del self.removed[NOTES_MAX:]
        if item["cut"]:
            self.miss(f"{name}: only a part, the whole is larger than the bound")

    def miss(self, line: str) -> None:
        if len(self.missing) < NOTES_MAX:
            self.missing.append(line)

    def close(self) -> None:
        for name, lines in (("REMOVED.txt", self.removed), ("MISSING.txt", self.missing)):
            self._put(name, ("".join(f"{line}\n" for line in lines) or "Nothing.\n").encode())
        self._tar.close()

    def _put(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(f"{TOP}/{name}")
        member.mode, member.size, member.mtime = 0o600, len(content), self._made_at
        self._tar.addfile(member, io.BytesIO(content))


@dataclass(frozen=True)
class Ask:
    """The command `snapshot`, to these nodes; without `item` it asks for the names of all."""

    nodes: tuple[str, ...]
    timeout_s: float
    item: str | None = None

    @property
    def fields(self) -> dict[str, Any]:
        return {} if self.item is None else {"item": self.item}


Answers = list[dict[str, Any]]


def collecting(
    archive: Archive, nodes: Sequence[str], now_s: Callable[[], float]
) -> Generator[Ask, Answers, None]:
    """Send it one answer for each node of an `Ask`, or throw the `TwofoldError` that came instead.

    What goes wrong with the first question, which is for all nodes, is the asker's to tell.
    """
    ends_s = now_s() + WHOLE_TIMEOUT_S
    for answer in (yield Ask(tuple(nodes), table.LIST_TIMEOUT_S)):
        node = str(answer["node"])
        if not table.is_safe(node) or "error" in answer:
            archive.silent.append(node)
            archive.miss(f"node {node}: {_reason(answer)}")
            continue
        for item in [i for i in answer["items"] if table.is_safe(i)][: table.ITEMS_MAX]:
            if now_s() > ends_s:
                archive.miss(f"node {node}: the time ended at {item}")
                break
            if not (yield from _one(archive, node, item)):
                break
    archive.close()


def _one(archive: Archive, node: str, item: str) -> Generator[Ask, Answers, bool]:
    """False when the node is gone meanwhile: its other items would only be waited for."""
    name = f"{node}/{item}"
    try:
        (answer,) = yield Ask((node,), table.ITEM_TIMEOUT_S, item)
    except TwofoldError as e:
        archive.miss(f"{name}: {e.sentence or e}")
        return True
    if "error" not in answer:
        archive.add(name, answer)
        return True
    archive.miss(f"{name}: {_reason(answer)}")
    if not answer.get("reachable", True):
        archive.silent.append(node)
        return False
    return True


def _reason(answer: dict[str, Any]) -> str:
    return str(error_from(answer.get("error")).sentence)
