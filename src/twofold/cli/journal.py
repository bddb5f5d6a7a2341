"""`why` and `log`: what was decided and what happened, on one node or on all, in order of time."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from twofold.cli.follow import print_entry
from twofold.cli.output import print_error, print_json
from twofold.cli.session import AnyModule, AsJson, ModuleName, OnNodes, Session
from twofold.client import Client
from twofold.errors import NodeUnreachable
from twofold.wire.lines import error_from

Lines = Annotated[int, typer.Option("-n", "--lines", min=1, max=10000, help="How many at most.")]
FOLLOW_S = 0.5


def add_to(app: typer.Typer) -> None:
    app.command("why")(why)
    app.command("log")(log)


def why(
    context: typer.Context,
    module: ModuleName,
    lines: Lines = 10,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Each decision about MODULE, and its reason in one sentence."""
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "why", module=module, limit=lines)

    def show(answer: dict[str, Any]) -> None:
        for decision in answer["decisions"]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(decision["at"])))
            node = f"{answer['node']}  " if "node" in answer else ""
            step = decision["state"]
            if decision.get("then") not in (None, "", step):
                step += f" → {decision['then']}"
            print(f"{at}  {node}{step:<16} {decision['sentence']}")
        if not answer["decisions"]:
            print(f"Nothing was decided about {module} yet.")
        if answer.get("sentence"):
            print(f"Now: {answer['sentence']} {answer.get('next', '')}")

    session.show(answers, show)


def log(
    context: typer.Context,
    module: AnyModule = None,
    lines: Lines = 30,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """What happened: of MODULE or of all; -H '*' merges both nodes by time."""
    session = Session.of(context, on, as_json)
    fields: dict[str, Any] = {} if module is None else {"module": module}
    with Client() as client:
        entries = _entries(session, client, {**fields, "limit": lines})[-lines:]
        if session.as_json and not follow:
            print_json(entries)
            return
        _print(entries)
        while follow:
            time.sleep(FOLLOW_S)
            since = _last_of_each(entries)
            new = [
                e
                for node in {str(e["node"]) for e in entries}
                for e in _entries(session, client, {**fields, "since": since[node], "limit": 500})
                if str(e["node"]) == node
            ]
            _print(sorted(new, key=lambda e: float(e["at"])))
            entries += new


def _entries(session: Session, client: Client, fields: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for answer in session.ask(client, "log", **fields):
        if "error" in answer:
            error = error_from(answer["error"])
            if not isinstance(error, NodeUnreachable):
                raise error
            print_error(error, False)
        found += [{"node": answer.get("node", ""), **e} for e in answer.get("entries", [])]
    return sorted(found, key=lambda e: float(e["at"]))


def _last_of_each(entries: list[dict[str, Any]]) -> dict[str, int]:
    last: dict[str, int] = {}
    for entry in entries:
        node = str(entry["node"])
        last[node] = max(last.get(node, 0), int(entry["id"]))
    return last


def _print(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        module = f"{entry['module']}: " if entry.get("module") else ""
        print_entry(str(entry["node"]), {**entry, "sentence": f"{module}{entry.get('sentence')}"})
