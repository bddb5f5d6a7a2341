"""Commands that change a module's state: each says what happens and ends with what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from twofold.cli import follow
from twofold.cli.follow import Follower
from twofold.cli.output import NotReached, console, print_json
from twofold.cli.progress_line import ProgressLine
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.cli.stale import asked_all_the_same
from twofold.cli.state import module_states
from twofold.client import Client
from twofold.errors import NeedsForce, OperatorError
from twofold.wire.lines import error_from

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="TIME", help="How long to follow, such as 90s.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; I know what is lost.")]
Object = dict[str, Any]

TIMEOUT = "180s"
WAIT_STATES = ("STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP")


def add_to(app: typer.Typer) -> None:
    for command in (prim, start, stop, restart, stopstart, swap, second, wait):
        app.command(command.__name__)(command)


def prim(
    context: typer.Context,
    module: ModuleName,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Start MODULE here as primary: this node has the good data.

    Needed once, at the very first start. On data that may be old it says how old and asks; without
    a terminal it is refused. --yes goes on with what this node has.

    Example: twofold prim mariadb
    """
    session = Session.of(context, on, as_json)
    if session.nodes is not None and (len(session.nodes) > 1 or session.nodes == ("*",)):
        raise OperatorError("only one node can be primary", "Write: -H NODE")
    try:
        _act(session, "prim", module, follow.serving, wait, timeout, {"force": yes})
    except NeedsForce as refusal:
        if yes or not asked_all_the_same(refusal, session, module):
            raise
        _act(session, "prim", module, follow.serving, wait, timeout, {"force": True})


def start(
    context: typer.Context,
    module: ModuleName,
    first: Annotated[
        str | None, typer.Option("--prim", metavar="NODE", help="First start: NODE has the data.")
    ] = None,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Start MODULE: the up-to-date node becomes primary, the other follows.

    With --prim NODE both nodes start, NODE as the one with the good data.

    Example: twofold start mariadb --prim a
    """
    session = Session.of(context, on, as_json)
    if first is None:
        _act(session, "start", module, follow.in_role, wait, timeout, {})
        return
    with Client() as client:
        others = [n for n in _homes(client, module) if n != first]
    here = Session((first,), session.as_json)
    fields = {"force": False}
    _act(here, "prim", module, follow.serving, wait, timeout, fields, shown=not others)
    if others:
        there = Session(tuple(others), session.as_json)
        _act(there, "start", module, follow.in_role, wait, timeout, {})


def stop(
    context: typer.Context,
    module: ModuleName,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Stop MODULE here; an up-to-date other node takes over.

    Example: twofold stop mariadb -H '*' --timeout 5min
    """
    session = Session.of(context, on, as_json)
    if not wait or session.nodes is None:
        _act(session, "stop", module, follow.stopped, wait, timeout, {})
        return
    # The one that serves last: otherwise it would hand over to a node that stops as well.
    with Client() as client:
        nodes = sorted(
            _acting_nodes(client, session, module),
            key=lambda n: module_states(client, (n,), module)[0].get("state") in follow.SERVING,
        )
    for node in nodes:
        there, last = Session((node,), session.as_json), node == nodes[-1]
        _act(there, "stop", module, follow.stopped, wait, timeout, {}, shown=last)


def restart(
    context: typer.Context,
    module: ModuleName,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Stop and start the application on the node that serves; no failover.

    Example: twofold restart mariadb
    """
    session = Session.of(context, on, as_json)
    if session.nodes is None:
        with Client() as client:
            states = module_states(client, ("*",), module)
        serving = [str(o["node"]) for o in states if o.get("state") in follow.SERVING]
        session = Session(tuple(serving[:1]) or None, session.as_json)
    _act(session, "restart", module, follow.in_role, wait, timeout, {})


def stopstart(
    context: typer.Context,
    module: ModuleName,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Stop MODULE here and start it again: a changed configuration counts from then on.

    On several nodes: one after the other, the one that serves last, so that the other takes over
    meanwhile.

    Example: twofold stopstart mariadb -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        nodes = sorted(
            _acting_nodes(client, session, module),
            key=lambda n: module_states(client, (n,), module)[0].get("state") in follow.SERVING,
        )
    for node in nodes:
        there, last = Session((node,), session.as_json), node == nodes[-1]
        _act(there, "stop", module, follow.stopped, True, timeout, {}, shown=False)
        _act(there, "start", module, follow.in_role, True, timeout, {}, shown=last)


def second(
    context: typer.Context,
    module: ModuleName,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Start MODULE here as secondary, whatever this node has.

    Example: twofold second mariadb -H b
    """
    session = Session.of(context, on, as_json)
    _act(session, "second", module, follow.second, wait, timeout, {})


def swap(
    context: typer.Context,
    module: ModuleName,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Exchange the roles: the application stops on one node, then starts on the other.

    Example: twofold swap mariadb --timeout 90s
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        objects = module_states(client, ("*",), module)
        primary = next((str(o["node"]) for o in objects if o.get("state") in follow.SERVING), None)
        goals = {
            str(o["node"]): follow.second if o["node"] == primary else follow.serving
            for o in objects
        }
        try:
            _act(session, "swap", module, follow.in_role, wait, timeout, {}, goals)
        except NotReached:
            back = module_states(client, (primary,), module)[0] if primary else {}
            if not follow.serving(back):
                raise
            raise NotReached(
                f"the swap of {module} was not possible, {primary} serves as before",
                f"The reason: twofold why {module} -H '*'",
            ) from None


def wait(
    context: typer.Context,
    module: ModuleName,
    state: Annotated[
        list[str], typer.Argument(metavar="STATE...", help="PRIM, SECOND, ALONE, WAIT or STOP.")
    ],
    ready: Annotated[bool, typer.Option("--ready/--any", help="Ready, or in that state.")] = True,
    timeout: Timeout = TIMEOUT,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Wait until MODULE is in one of the states here; exit code 14 when it is not in time.

    Example: twofold wait mariadb PRIM SECOND -H '*' --timeout 10min
    """
    import time

    from twofold.config.units import parse_duration_s

    session = Session.of(context, on, as_json)
    wanted = {s.upper() for s in state}
    if not wanted <= set(WAIT_STATES):
        unknown = ", ".join(sorted(wanted - set(WAIT_STATES)))
        raise OperatorError(f"{unknown} is no state", f"States are {', '.join(WAIT_STATES)}.")
    deadline = time.monotonic() + _seconds(parse_duration_s, timeout)
    progress = ProgressLine(module)
    with Client() as client:
        while True:
            objects = module_states(client, session.nodes, module)
            if all(_is_in(o, wanted, ready) for o in objects):
                progress.clear()
                break
            if not session.as_json and any(o.get("resync") for o in objects):
                # The node that sends knows the figures, whichever was asked for.
                progress.show(module_states(client, ("*",), module))
            if time.monotonic() > deadline:
                progress.clear()
                now = ", ".join(f"{o.get('node')} {o.get('state', 'no answer')}" for o in objects)
                raise NotReached(f"{module} is not {' or '.join(sorted(wanted))}: {now}")
            time.sleep(follow.POLL_S)
    if session.as_json:
        print_json(objects)


def _is_in(o: Object, wanted: set[str], ready: bool) -> bool:
    if o.get("state") not in wanted:
        return False
    # STOP and WAIT are never Ready: there, ready means that nothing is being done any more.
    resting = o["state"] in ("STOP", "WAIT") and o.get("readiness") != "Transient"
    return not ready or resting or o.get("readiness") == "Ready"


def _seconds(parse: Callable[[object], float], text: str) -> float:
    try:
        return parse(text)
    except ValueError as e:
        raise OperatorError(f"--timeout: {e}") from None


def _homes(client: Client, module: str) -> list[str]:
    """The nodes that the module lives on: the daemon knows them, also those that are silent."""
    return [str(o["node"]) for o in module_states(client, ("*",), module)]


def _act(
    session: Session,
    command: str,
    module: str,
    goal: Callable[[Object], bool],
    wait: bool,
    timeout: str,
    fields: dict[str, Any],
    goals: dict[str, Callable[[Object], bool]] | None = None,
    shown: bool = True,
) -> None:
    from twofold.config.units import parse_duration_s

    timeout_s = _seconds(parse_duration_s, timeout)
    with Client() as client:
        nodes = _acting_nodes(client, session, module)
        follower = Follower(client, module, goals or dict.fromkeys(nodes, goal), session.as_json)
        if wait:
            follower.begin()
        # Whoever follows reads the same sentence in the journal, with its time and node.
        _send(client, session, command, module, fields, told=not (wait or session.as_json))
        if wait:
            follower.run(timeout_s)
        objects = module_states(client, ("*",), module) if shown else []
    if not shown:
        return
    if session.as_json:
        print_json(objects)
    else:
        from twofold.cli.state_view import print_states

        print_states(console(), objects)


def _acting_nodes(client: Client, session: Session, module: str) -> list[str]:
    if session.nodes is None:
        return [str(module_states(client, None, module)[0]["node"])]
    return _homes(client, module) if "*" in session.nodes else list(session.nodes)


def _send(
    client: Client,
    session: Session,
    command: str,
    module: str,
    fields: dict[str, Any],
    told: bool,
) -> None:
    """Every node is asked; the first refusal is raised after all have answered."""
    for answer in session.ask(client, command, module=module, **fields):
        if "error" in answer:
            raise error_from(answer["error"])
        if answer.get("sentence") and told:
            print(answer["sentence"], flush=True)
