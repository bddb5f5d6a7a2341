"""`twofold snapshot`: what somebody who helps needs, from all nodes, in one archive.

Each node collects and cleans its own (`twofold.daemon.snapshot`); here the items are only fetched,
one after the other, and packed. A node that does not answer is named, and the rest goes on.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_PEER
from twofold.cli.session import AsJson, OnNodes, Session
from twofold.client import Client
from twofold.errors import OperatorError, TwofoldError
from twofold.wire import snapshot as table
from twofold.wire.lines import error_from

WHOLE_TIMEOUT_S = 300.0
TOP = "twofold-snapshot"


def add_to(app: typer.Typer) -> None:
    app.command("snapshot")(snapshot)


class Archive:
    """Files by name, in memory, and what is to be told about them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.removed: list[str] = []
        self.missing: list[str] = []
        self.silent: list[str] = []
        self.size_bytes = 0

    def add(self, name: str, item: dict[str, Any]) -> None:
        content = str(item["text"]).encode("utf-8", "replace")
        if self.size_bytes + len(content) > table.ARCHIVE_BYTES_MAX:
            self.missing.append(f"{name}: left out, the archive is large enough")
            return
        self.size_bytes += len(content)
        self.files[name] = content
        self.removed += [f"{name}: {note}" for note in item["removed"]]
        if item["cut"]:
            self.missing.append(f"{name}: only a part, the whole is larger than the bound")

    def packed(self) -> bytes:
        told = {
            "README.txt": table.readme(),
            "REMOVED.txt": "".join(f"{r}\n" for r in self.removed) or "Nothing.\n",
            "MISSING.txt": "".join(f"{m}\n" for m in self.missing) or "Nothing.\n",
        }
        files = {n: t.encode() for n, t in told.items()} | self.files
        made, now_s = io.BytesIO(), time.time()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(f"{TOP}/{name}")
                member.mode, member.size, member.mtime = 0o600, len(content), int(now_s)
                archive.addfile(member, io.BytesIO(content))
        return made.getvalue()


def snapshot(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The archive to make.")
    ] = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Collect what somebody who helps needs, from all nodes, without secrets, in one archive.

    Example: twofold snapshot -o /tmp/for-support.tar.gz
    """
    session = Session.of(context, on, as_json)
    target = output or Path(time.strftime("twofold-snapshot-%Y%m%d-%H%M%S.tar.gz"))
    if target.exists():
        raise OperatorError(f"{target} is there already", "Name another: -o FILE")
    archive = collected(session.nodes or ("*",))
    _write(target, archive.packed())
    told = {
        "file": str(target),
        "bytes": target.stat().st_size,
        "files": len(archive.files),
        "removed": len(archive.removed),
        "missing": archive.missing,
        "silent": archive.silent,
    }
    Session(None, session.as_json).show([told], _print)
    if archive.silent:
        raise typer.Exit(EXIT_PEER)


def collected(nodes: tuple[str, ...]) -> Archive:
    archive, ends_s = Archive(), time.monotonic() + WHOLE_TIMEOUT_S
    with Client(timeout_s=table.ITEM_TIMEOUT_S + 2.0) as client:
        for answer in client.ask_nodes(nodes, "snapshot", timeout_s=table.LIST_TIMEOUT_S):
            node = str(answer["node"])
            if not table.is_safe(node) or "error" in answer:
                archive.silent.append(node)
                archive.missing.append(f"node {node}: {_reason(answer)}")
                continue
            items = [i for i in answer["items"] if table.is_safe(i)][: table.ITEMS_MAX]
            for item in items:
                if time.monotonic() > ends_s:
                    archive.missing.append(f"node {node}: the time ended at {item}")
                    break
                if not _fetch(client, archive, node, item):
                    break
    return archive


def _fetch(client: Client, archive: Archive, node: str, item: str) -> bool:
    """False when the node is gone meanwhile: its other items would only be waited for."""
    name = f"{node}/{item}"
    try:
        (answer,) = client.ask_nodes([node], "snapshot", item=item)
    except TwofoldError as e:
        archive.missing.append(f"{name}: {e.sentence or e}")
        return True
    if "error" not in answer:
        archive.add(name, answer)
        return True
    archive.missing.append(f"{name}: {_reason(answer)}")
    if not answer.get("reachable", True):
        archive.silent.append(node)
        return False
    return True


def _reason(answer: dict[str, Any]) -> str:
    return str(error_from(answer.get("error")).sentence)


def _write(target: Path, content: bytes) -> None:
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError:
        raise OperatorError(f"{target} is there already", "Name another: -o FILE") from None
    except OSError as e:
        raise OperatorError(f"{target} cannot be written: {e.strerror}") from None


def _print(told: dict[str, Any]) -> None:
    kib = max(1, told["bytes"] // 1024)
    print(f"{told['files']} files are in {told['file']} ({kib} KiB).")
    print(f"{told['removed']} secrets were removed; REMOVED.txt in it says where.")
    print("Look through it before you give it away.")
    for line in told["missing"]:
        print(f"Missing: {line}")
