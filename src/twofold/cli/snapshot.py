"""`twofold snapshot`: what somebody who helps needs, from all nodes, in one archive.

Each node collects and cleans its own (`twofold.daemon.snapshot`); what is asked and how it is
packed is in `twofold.wire.archive`. A node that does not answer is named, and the rest goes on.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from twofold.cli.output import EXIT_PEER
from twofold.cli.session import AsJson, OnNodes, Session
from twofold.client import Client
from twofold.errors import OperatorError, TwofoldError
from twofold.wire.archive import SUFFIX, TOP, Archive, collecting
from twofold.wire.snapshot import ITEM_TIMEOUT_S


def add_to(app: typer.Typer) -> None:
    app.command("snapshot")(snapshot)


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
    target = output or Path(time.strftime(f"{TOP}-%Y%m%d-%H%M%S{SUFFIX}"))
    with _new(target) as file:
        try:
            archive = _collected(session.nodes or ("*",), file)
        except BaseException:  # half an archive is none
            target.unlink(missing_ok=True)
            raise
    told = {
        "file": str(target),
        "bytes": target.stat().st_size,
        "files": archive.files,
        "removed": len(archive.removed),
        "missing": archive.missing,
        "silent": archive.silent,
    }
    Session(None, session.as_json).show([told], _print)
    if archive.silent:
        raise typer.Exit(EXIT_PEER)


def _new(target: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise OperatorError(f"{target} is there already", "Name another: -o FILE") from None
    except OSError as e:
        raise OperatorError(f"{target} cannot be written: {e.strerror}") from None


def _collected(nodes: tuple[str, ...], file: BinaryIO) -> Archive:
    archive = Archive(file, time.time())
    steps = collecting(archive, nodes, time.monotonic)
    with Client(timeout_s=ITEM_TIMEOUT_S + 2.0) as client:
        try:
            ask = next(steps)
            while True:
                try:
                    answers = client.ask_nodes(
                        ask.nodes, "snapshot", timeout_s=ask.timeout_s, **ask.fields
                    )
                except TwofoldError as e:
                    ask = steps.throw(e)
                else:
                    ask = steps.send(answers)
        except StopIteration:
            return archive
        except OSError as e:
            raise OperatorError(f"{file.name} cannot be written: {e.strerror}") from None


def _print(told: dict[str, Any]) -> None:
    kib = max(1, told["bytes"] // 1024)
    print(f"{told['files']} files are in {told['file']} ({kib} KiB).")
    print(f"{told['removed']} secrets were removed; REMOVED.txt in it says where.")
    print("Look through it before you give it away.")
    for line in told["missing"]:
        print(f"Missing: {line}")
