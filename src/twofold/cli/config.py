"""`twofold config`: check and compare configuration; the schema for editors."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_OPERATOR, print_json
from twofold.cli.session import AnyModule, AsJson, OnNodes, Session
from twofold.client import Client

app = typer.Typer(no_args_is_help=True, help="Configuration files: check, compare, describe.")


class File(StrEnum):
    MODULE = "module"
    CLUSTER = "cluster"


@app.command()
def check(
    context: typer.Context, module: AnyModule = None, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """Check the files under /etc/twofold; says file, line, column and mend."""
    session = Session.of(context, on, as_json)
    fields: dict[str, Any] = {} if module is None else {"module": module}
    with Client() as client:
        answers = session.ask(client, "config_check", **fields)

    def show(answer: dict[str, Any]) -> None:
        where = f"node {answer['node']}: " if "node" in answer else ""
        for problem in answer["problems"]:
            print(f"{where}{problem}")
        if not answer["problems"]:
            print(f"{where}{', '.join(answer['checked'])}: nothing wrong.")

    session.show(answers, show)
    if any(a.get("problems") for a in answers):
        raise typer.Exit(EXIT_OPERATOR)


@app.command()
def diff(context: typer.Context, as_json: AsJson = False) -> None:
    """Files that are not the same on all nodes; the exit code is 10 when there are any."""
    session = Session.of(context, None, as_json)
    with Client() as client:
        answer = client.ask("config_diff")
    differences: list[dict[str, Any]] = answer["differences"]
    if session.as_json:
        print_json(differences)
    for d in [] if session.as_json else differences:
        how = f"is only on {d['only_on']}" if d["only_on"] else f"differs on {d['node']}"
        print(f"{d['file']} {how}")
    if not differences and not session.as_json:
        print("All nodes have the same configuration.")
    if differences:
        if not session.as_json:
            print("Take this node's: twofold module apply MODULE")
        raise typer.Exit(EXIT_OPERATOR)


@app.command()
def schema(
    file: Annotated[File, typer.Argument(help="Which file.")] = File.MODULE,
) -> None:
    """The JSON Schema of module.toml or cluster.toml, for editors."""
    from twofold.config.render import json_schema
    from twofold.config.schema import ClusterConfig, ModuleConfig

    print(json_schema(ModuleConfig if file is File.MODULE else ClusterConfig), end="")


@app.command()
def reference() -> None:
    """Every key with its default and meaning, as a page (Markdown)."""
    from twofold.config.render import reference_page

    print(reference_page(), end="")
