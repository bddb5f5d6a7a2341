"""`twofold mirror status`: the two copies, who has everything, what is on its way."""

from __future__ import annotations

from typing import Any

import typer

from twofold.cli.output import print_json
from twofold.cli.quantities import size_text
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.cli.state import module_states
from twofold.cli.verification import summary
from twofold.client import Client
from twofold.errors import OperatorError
from twofold.wire.lines import error_from

Object = dict[str, Any]
FIELDS = ("node", "state", "up_to_date", "generation", "resync", "traffic", "kept_copy", "verify")


def status(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """The two copies of MODULE: who has everything, what is on its way, the last comparison.

    Example: twofold mirror status mariadb
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        objects = module_states(client, session.nodes or ("*",), module)
    if all("error" in o for o in objects):
        raise error_from(objects[0]["error"])
    if any(o.get("kind") not in ("mirror", None) for o in objects):
        raise OperatorError(f"{module} is no mirror: it has no second copy", "See: twofold state")
    if session.as_json:
        print_json([{k: o.get(k) for k in (*FIELDS, "error") if k in o} for o in objects])
        return
    for found in objects:
        for line in told(found):
            print(line)
    compared = next((o["verify"] for o in objects if o.get("verify")), None)
    print(f"compared: {summary(compared)}" if compared else "compared: not yet (mirror verify)")


def told(found: Object) -> list[str]:
    node = str(found["node"])
    if "error" in found:
        return [f"{node}: no answer: {found['error']['text']}"]
    has = "has everything" if found.get("up_to_date") else "is behind, or not known to be current"
    lines = [f"{node}: {found['state']}, {has} (generation {_short(found.get('generation'))})"]
    resync: Object | None = found.get("resync")
    if resync:
        done, total = resync.get("bytes_done"), resync.get("bytes_total")
        of = f" of {size_text(total)}" if total else ""
        lines.append(f"    resync: {size_text(done or 0)}{of} compared")
    traffic: Object | None = found.get("traffic")
    if traffic and found["state"] in ("PRIM", "ALONE"):
        waits = int(traffic.get("pending_operations") or 0)
        lines.append(
            f"    sent since the engine began: {size_text(traffic.get('bytes_sent') or 0)} in "
            f"{traffic.get('operations_sent') or 0} operations; "
            + (f"{waits} wait for the other node" if waits else "none waits")
        )
    kept: Object | None = found.get("kept_copy")
    if kept:
        lines.append(f"    copy from before the resync: {kept.get('text')}")
    return lines


def _short(generation: object) -> str:
    return str(generation)[:8] if generation else "none"
