"""`twofold module`: add one from the library or a directory, change, list, show, remove."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from twofold.cli.config import DryRun, Why, print_applied
from twofold.cli.output import EXIT_OPERATOR, console
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session, parse_nodes
from twofold.cli.variables import Set, assignments
from twofold.client import Client
from twofold.wire.local import APPLY_TIMEOUT_S

app = typer.Typer(no_args_is_help=True, help="What is made highly available.")


@app.command()
def add(
    context: typer.Context,
    module: ModuleName,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Library module, directory, packed module; default MODULE.",
        ),
    ] = None,
    values: Set = None,
    nodes: Annotated[
        str | None,
        typer.Option("--nodes", help="Where it lives, such as a,c; needed when there are three."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a new module on all nodes, then put it there. It is not started.

    Example: twofold module add mariadb --set address=10.0.0.100/24

    Example: twofold module add shop --from ./shop.module.tar.gz
    """
    from twofold.cli.library import files_from
    from twofold.wire.files import pack

    session = Session.of(context, None, as_json)
    files = pack(files_from(source or module))
    with Client() as client:
        answer = client.ask(
            "module_add",
            timeout_s=APPLY_TIMEOUT_S,
            module=module,
            files=files,
            set=assignments(values or []),
            homes=list(parse_nodes(nodes) or ()),
        )
    session.show([answer], _print_added)


def _print_added(answer: dict[str, Any]) -> None:
    name, nodes = answer["module"], answer.get("homes") or answer["nodes"]
    print(f"Module {name} is on {' and '.join(nodes)}.")
    print(f"First start, on the node with the good data: twofold start {name} --prim {nodes[0]}")


@app.command()
def apply(
    context: typer.Context,
    module: ModuleName,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="Take new files; variables keep values."),
    ] = None,
    values: Set = None,
    why: Why = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Check this node's files of MODULE on all nodes, then put them there.

    What may not change while MODULE runs is refused; what counts only from its next start is said.

    Example: twofold module apply mariadb --set address=10.0.0.101/24 --dry-run
    """
    from twofold.cli.library import files_from
    from twofold.wire.files import pack

    session = Session.of(context, None, as_json)
    fields = {} if source is None else {"files": pack(files_from(source))}
    with Client() as client:
        answer = client.ask(
            "module_apply",
            timeout_s=APPLY_TIMEOUT_S,
            module=module,
            set=assignments(values or []),
            why=why,
            dry_run=dry_run,
            **fields,
        )
    session.show([answer], print_applied)
    if answer["problems"]:
        raise typer.Exit(EXIT_OPERATOR)


@app.command("list")
def list_(context: typer.Context, on: OnNodes = None, as_json: AsJson = False) -> None:
    """The modules, with their state on this node.

    Example: twofold module list -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "module_list")

    def show(answer: dict[str, Any]) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        for head in ("module", "kind", "nodes", "state", "address", "directories", "port"):
            table.add_column(head)
        for m in answer["modules"]:
            if "error" in m:
                table.add_row(m["module"], "[red]wrong[/]", "", m["state"], m["error"])
                continue
            table.add_row(
                m["module"],
                m["kind"],
                ", ".join(m.get("nodes", ())),
                m["state"] if m.get("here", True) else "elsewhere",
                ", ".join(m["addresses"]),
                ", ".join(m["directories"]),
                str(m["port"] or ""),
            )
        if "node" in answer:
            print(f"Node {answer['node']}:")
        if answer["modules"]:
            console().print(table)
        else:
            print("No module yet. See: twofold module library")

    session.show(answers, show)


@app.command()
def show(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """The files of MODULE as they are on this node.

    Example: twofold module show mariadb
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "module_show", module=module)

    def print_files(answer: dict[str, Any]) -> None:
        print(f"# {answer['directory']} (digest {answer['digest']})")
        for path, content in answer["files"].items():
            print(f"# --- {path}\n{content.rstrip()}\n")

    session.show(answers, print_files)


@app.command()
def remove(
    context: typer.Context,
    module: ModuleName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take MODULE's configuration off all nodes. Its directories keep their content.

    Example: twofold module remove mariadb
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        if not yes:
            typer.confirm(f"{_loss(client, module)} Go on?", abort=True)
        answer = client.ask("module_remove", timeout_s=APPLY_TIMEOUT_S, module=module)
    session.show(
        [answer],
        lambda a: print(f"Module {a['module']} is removed from {' and '.join(a['nodes'])}."),
    )


def _loss(client: Client, module: str) -> str:
    """What a removal takes away, and how old it is."""
    versions: list[dict[str, Any]] = (
        client.ask("config_history", target=module).get("versions") or []
    )
    last = ""
    if versions:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(versions[-1]["at"])))
        last = f" (version {versions[-1]['number']} of {at})"
    return (
        f"The configuration of {module}{last} is removed on all nodes; its directories keep their "
        f"content, and `twofold config rollback {module}` brings it back."
    )
