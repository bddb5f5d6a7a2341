"""`twofold checker`, `failover`, `boot`: switched off for a while by a person, remembered, shown.

A switch is set on every node of the cluster unless -H says otherwise: who works on an application
does not want the other node to look after it meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twofold.cli.resources import print_checkers
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.client import Client

CheckerName = Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)]

checker_app = typer.Typer(
    no_args_is_help=True, help="What watches a module: look, and switch off for a while."
)
failover_app = typer.Typer(
    no_args_is_help=True, help="Whether a node takes over by itself: switch off for a while."
)
boot_app = typer.Typer(
    no_args_is_help=True, help="Whether a module starts with the machine: switch for a while."
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(checker_app, name="checker")
    app.add_typer(failover_app, name="failover")
    app.add_typer(boot_app, name="boot")


@checker_app.command("off")
def checker_off(
    context: typer.Context,
    module: ModuleName,
    name: CheckerName = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Do not ask checker NAME of MODULE (without NAME: none), on all nodes, until switched on.

    With all of them off, a service that ends by itself is an alarm and nothing more.

    Example: twofold checker off mariadb sql
    """
    _switch(Session.of(context, on, as_json), module, "checker", False, name)


@checker_app.command("on")
def checker_on(
    context: typer.Context,
    module: ModuleName,
    name: CheckerName = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Ask checker NAME of MODULE (without NAME: each) again.

    Example: twofold checker on mariadb sql
    """
    _switch(Session.of(context, on, as_json), module, "checker", True, name)


@checker_app.command("list")
def checker_list(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """The checkers of MODULE: on or off, the last verdict, what a failure leads to.

    Example: twofold checker list mariadb -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "resources", module=module)
    for answer in answers:
        answer.update(checkers=[c for m in answer.pop("modules", []) for c in m["checkers"]])
    session.show(answers, lambda answer: print_checkers(answer["checkers"]))


@failover_app.command("off")
def failover_off(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """No node takes MODULE over by itself, until switched on: not from a primary that is lost, nor
    from one that is stopped or fails. A swap moves it all the same.

    Example: twofold failover off mariadb -H '*'
    """
    _switch(Session.of(context, on, as_json), module, "failover", False)


@failover_app.command("on")
def failover_on(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """The secondary takes MODULE over by itself again.

    Example: twofold failover on mariadb -H '*'
    """
    _switch(Session.of(context, on, as_json), module, "failover", True)


@boot_app.command("off")
def boot_off(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """MODULE stays stopped when the machine starts, until switched on.

    Example: twofold boot off mariadb -H b
    """
    _switch(Session.of(context, on, as_json), module, "boot", False)


@boot_app.command("on")
def boot_on(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """MODULE starts with the machine if it was running before.

    Example: twofold boot on mariadb -H b
    """
    _switch(Session.of(context, on, as_json), module, "boot", True)


def _switch(session: Session, module: str, what: str, on: bool, name: str | None = None) -> None:
    everywhere = Session(session.nodes or ("*",), session.as_json)
    with Client() as client:
        fields: dict[str, Any] = {"module": module, "what": what, "on": on, "name": name or "*"}
        answers = everywhere.ask(client, "switch", **fields)
    everywhere.show(answers, lambda a: print(f"{a['node']}: {a['sentence']}"))
