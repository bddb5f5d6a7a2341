"""`twofold mirror resync --full`: everything is compared, whatever is believed to be equal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from twofold.cli.follow import SERVING
from twofold.cli.output import NotReached, print_json
from twofold.cli.progress_line import ProgressLine
from twofold.cli.quantities import duration_text, size_text
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.cli.state import module_states
from twofold.client import Client
from twofold.errors import OperatorError

POLL_S = 0.3
AWAY_MAX_S = 30.0  # nobody serves, or no resync runs: it will not come to its end
Object = dict[str, Any]


def resync(
    context: typer.Context,
    module: ModuleName,
    full: Annotated[bool, typer.Option("--full", help="Compare everything by checksum.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Compare both copies of MODULE whole and bring the other node's up to date, while it runs.

    Until it ends the other node cannot take over. Nothing newer is overwritten: a node whose data
    is newer is refused, and `prim` decides. To compare without giving up the second copy
    meanwhile: twofold mirror verify MODULE --repair

    Example: twofold mirror resync mariadb --full
    """
    if not full:
        raise OperatorError(
            "a resync of what may differ needs no command, it begins by itself",
            f"To have everything compared: twofold mirror resync {module} --full",
        )
    session = Session.of(context, on, as_json)
    with Client() as client:
        before = _last(module_states(client, ("*",), module))
        begins = session.ask(client, "resync", module=module)[0]["begins"]
        ended = _followed(client, module, before, as_json) if wait and begins == "now" else None
    if session.as_json:
        print_json({"module": module, "begins": begins, "resync": ended})
    else:
        print(report(module, str(begins), ended))


def _last(objects: Sequence[Object]) -> Object | None:
    """What the serving node says of the resync that ended last."""
    return next((o.get("last_resync") for o in objects if o.get("state") in SERVING), None)


def _followed(client: Client, module: str, before: Object | None, quiet: bool) -> Object:
    line = ProgressLine(module)
    alive_s = time.monotonic()
    try:
        while True:
            objects = module_states(client, ("*",), module)
            if not quiet:
                line.show(objects)
            last = _last(objects)
            if last is not None and last != before:
                return last
            if any(o.get("resync") for o in objects):
                alive_s = time.monotonic()
            if time.monotonic() > alive_s + AWAY_MAX_S:
                text = f"{module}: no resync has run for {AWAY_MAX_S:g} s"
                raise NotReached(text, "It begins when both nodes are there; see: twofold state")
            time.sleep(POLL_S)
    finally:
        line.clear()


def report(module: str, begins: str, ended: Object | None) -> str:
    if begins == "later":
        return f"{module}: the other node is not there; when it comes, everything is compared."
    if ended is None:
        return f"{module}: everything is being compared; see: twofold mirror status {module}"
    compared, sent = size_text(ended["bytes_looked_at"]), size_text(ended["bytes_sent"])
    return (
        f"{module}: {compared} in {ended['files']} files and directories were compared in "
        f"{duration_text(ended['seconds'])}, {sent} differed and were sent."
    )
