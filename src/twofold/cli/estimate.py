"""`twofold mirror estimate`: what would a resync look at if it began now?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from twofold.cli.output import print_json
from twofold.cli.quantities import size_text
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.client import Client


def estimate(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """Tell what a resync of MODULE's other copy would look at; it sends what differs of that.

    After a crash of the other node as primary, what it had in doubt comes on top.

    Example: twofold mirror estimate mariadb
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        found = session.ask(client, "estimate", module=module)[0]["estimate"]
    if session.as_json:
        print_json(found)
    else:
        print(report(module, found))


def report(module: str, found: Mapping[str, Any]) -> str:
    match found["looks_at"]:
        case "nothing":
            return f"{module}: nothing is in doubt; a resync would look at nothing."
        case "everything":
            return (
                f"{module}: a resync would compare everything: {amount(found)}; "
                f"{found['why']}. It sends what differs."
            )
        case _:
            return (
                f"{module}: a resync would look at {found['names']} names and at {amount(found)}, "
                "and send what differs."
            )


def amount(found: Mapping[str, Any]) -> str:
    """What is to be read of it; to count it all may take too long."""
    least = "" if found["complete"] else "at least "
    files = f"{found['files']} {'file' if found['files'] == 1 else 'files'}"
    return f"{least}{size_text(found['bytes'])} in {files}"
