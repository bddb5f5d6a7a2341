"""`twofold state`: what is going on, on all nodes, and what to do next."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_OPERATOR, STATE_EXIT_CODES, console, print_json
from twofold.cli.session import AnyModule, AsJson, OnNodes, Session
from twofold.client import Client
from twofold.errors import OperatorError
from twofold.wire.lines import error_from

PEER_WAIT_S = 2.0
Object = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    app.command("state")(state)


def state(
    context: typer.Context,
    module: AnyModule = None,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing; the exit code tells.")
    ] = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Again every second.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also the last verification of the copies.")
    ] = False,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Every module on every node: state, one sentence, what to do next.

    With -q this node's state of MODULE is the exit code: STOP 0, WAIT 1, ALONE or UP 2, PRIM 3,
    SECOND 4; errors are 10 and more.

    Example: twofold state mariadb -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        if quiet:
            raise typer.Exit(quiet_code(client, session, module))
        if watch:
            _watch(client, session, module)
            return
        objects = module_states(client, session.nodes or ("*",), module)
    if session.as_json:
        print_json(objects)
        return
    if objects and all("error" in o for o in objects):
        raise error_from(objects[0]["error"])
    from twofold.cli.state_view import print_states

    print_states(console(), objects, verbose)


def quiet_code(client: Client, session: Session, module: str | None) -> int:
    if module is None:
        raise OperatorError("state -q needs a module", "Write: twofold state MODULE -q")
    if session.nodes is not None and (len(session.nodes) != 1 or session.nodes == ("*",)):
        raise OperatorError("state -q tells of one node", "Write: -H NODE")
    objects = module_states(client, session.nodes, module)
    if "error" in objects[0]:
        raise error_from(objects[0]["error"])
    return STATE_EXIT_CODES.get(str(objects[0].get("state")), EXIT_OPERATOR)


def module_states(
    client: Client, nodes: tuple[str, ...] | None, module: str | None
) -> list[Object]:
    """One object for each module and node, flat; a silent node has one with `error`."""
    fields: Object = {} if module is None else {"module": module}
    if nodes is None:
        return list(client.ask("state", **fields)["modules"])
    objects: list[Object] = []
    answers = client.ask_nodes(nodes, "state", timeout_s=PEER_WAIT_S, **fields)
    for answer in answers:
        if "error" in answer:
            objects.append({"module": module, **answer})
        objects += answer.get("modules", [])
    return objects


def _watch(client: Client, session: Session, module: str | None) -> None:
    import time

    from rich.console import Group
    from rich.live import Live

    from twofold.cli.state_view import panels

    def picture() -> Group:
        return Group(*panels(module_states(client, session.nodes or ("*",), module)))

    with Live(picture(), console=console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(1.0)
            live.update(picture(), refresh=True)
