"""`twofold resources`: what a module is made of on a node, and how each part fares."""

from __future__ import annotations

import time
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from twofold.cli.output import console
from twofold.cli.quantities import duration_text
from twofold.cli.session import AnyModule, AsJson, OnNodes, Session
from twofold.client import Client

Object = dict[str, Any]
HISTORY_SHOWN = 5


def add_to(app: typer.Typer) -> None:
    app.command("resources")(resources)


def resources(
    context: typer.Context, module: AnyModule = None, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """Services, addresses and checkers of a module, with their last verdicts and changes.

    Example: twofold resources mariadb
    """
    session = Session.of(context, on, as_json)
    fields: Object = {} if module is None else {"module": module}
    with Client() as client:
        answers = session.ask(client, "resources", **fields)
    session.show(answers, _print)


def _print(answer: Object) -> None:
    for module in answer["modules"]:
        name, node = escape(str(module["module"])), escape(str(module["node"]))
        console().print(f"[bold]{name}[/] on {node}: {module['state']}")
        console().print(_parts(module))
        if module["checkers"]:
            print_checkers(module["checkers"])
        for line in _settings(module):
            console().print(f"  {line}")


def _settings(module: Object) -> list[str]:
    """Only what is not as usual."""
    lines: list[str] = []
    if not module["failover"]:
        lines.append("failover is off: the secondary does not take over by itself")
    if not module["boot"]:
        lines.append("boot is off: it does not start with the machine")
    return lines


def _parts(module: Object) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    for service in module["services"]:
        mark = "[green]✔[/]" if service["running"] else "–"
        table.add_row(mark, "service", escape(service["name"]), escape(service["detail"]))
    for address in module["addresses"]:
        where = f"on {address.get('interface')}" if address["held"] else "not on this node"
        table.add_row(
            "[green]✔[/]" if address["held"] else "–", "address", escape(address["ip"]), where
        )
    return table


def print_checkers(checkers: list[Object]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    for checker in checkers:
        table.add_row(
            _mark(checker),
            f"checker {checker['kind']}",
            escape(checker["name"]),
            escape(_text(checker)),
            f"then {checker['action']}",
        )
        for change in checker["history"][:HISTORY_SHOWN]:
            ago = duration_text(max(0.0, time.time() - change["at"]))
            word = "well" if change["ok"] else "failed"
            told = f"{ago} ago {word}: {escape(change['text'])}"
            table.add_row("", "", "", f"[bright_black]{told}[/]")
    console().print(table)


def _mark(checker: Object) -> str:
    if not checker["on"]:
        return "[yellow]off[/]"
    return {True: "[green]✔[/]", False: "[bold red]✘[/]"}.get(checker["ok"], "–")


def _text(checker: Object) -> str:
    if not checker["on"]:
        return "switched off"
    comes = ", it comes and goes" if checker["unsteady"] else ""
    if checker["ok"] is None:
        return f"{checker['text'] or 'not asked here now'}{comes}"
    failing = f" ({checker['failures']} failures)" if checker["failures"] else ""
    return f"{checker['text']}{failing}{comes}"
