"""`twofold mirror rescue`: what was saved before a resync overwrote it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_MACHINE, console
from twofold.cli.quantities import size_text
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.client import Client
from twofold.errors import OperatorError

LOOK_TIMEOUT_S = 25.0
WORK_TIMEOUT_S = 3600.0
REASONS = {
    "diverged": "both nodes went on alone",
    "never_replicated": "stood there before the first copy",
}
Object = Mapping[str, Any]
RescueName = Annotated[str, typer.Argument(metavar="RESCUE", show_default=False)]

app = typer.Typer(
    no_args_is_help=True, help="What only one node had, saved before a resync overwrote it."
)


@app.command("list")
def list_(
    context: typer.Context, module: ModuleName, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """The rescues of MODULE on this node, the oldest first.

    Example: twofold mirror rescue list mariadb
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "rescue_list", LOOK_TIMEOUT_S, module=module)
    session.show(answers, _print_list)


@app.command()
def show(
    context: typer.Context,
    module: ModuleName,
    rescue: RescueName,
    limit: Annotated[int, typer.Option("--limit", min=0, max=1000, help="Names to show.")] = 100,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """What is in one rescue: its files, and how much of each.

    Example: twofold mirror rescue show mariadb 3
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(
            client, "rescue_show", LOOK_TIMEOUT_S, module=module, rescue=rescue, limit=limit
        )
    session.show(answers, _print_rescue)


@app.command()
def extract(
    context: typer.Context,
    module: ModuleName,
    rescue: RescueName,
    into: Annotated[
        str, typer.Option("--into", metavar="DIRECTORY", help="A new or empty directory there.")
    ],
    with_current: Annotated[
        bool,
        typer.Option(
            "--with-current", help="Fill files saved in parts with what stands there now."
        ),
    ] = False,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Put the files of a rescue into a directory of their own, as they were.

    Never over the live directory. Exit code 12: something in the rescue is damaged.

    Example: twofold mirror rescue extract mariadb 3 --into /tmp/rescued
    """
    session = Session.of(context, on, as_json)
    _one_node(session)
    if session.nodes is None:
        into = str(Path.cwd() / into)  # a path is that of the node that extracts
    with Client() as client:
        answers = session.ask(
            client,
            "rescue_extract",
            WORK_TIMEOUT_S,
            module=module,
            rescue=rescue,
            into=into,
            with_current=with_current,
        )
    session.show(answers, _print_extracted)
    if any(a.get("extracted", {}).get("damaged") for a in answers):
        raise typer.Exit(EXIT_MACHINE)


@app.command()
def delete(
    context: typer.Context,
    module: ModuleName,
    rescue: RescueName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; it is lost for ever.")] = False,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Delete a rescue for good.

    Example: twofold mirror rescue delete mariadb 3
    """
    session = Session.of(context, on, as_json)
    _one_node(session)
    with Client() as client:
        if not yes:
            found = session.ask(
                client, "rescue_show", LOOK_TIMEOUT_S, module=module, rescue=rescue, limit=0
            )[0]["rescue"]
            size = size_text(found["bytes"])
            question = f"{found['files']} files ({size}) that are nowhere else are lost. Go on?"
            typer.confirm(question, abort=True)
        answers = session.ask(client, "rescue_delete", WORK_TIMEOUT_S, module=module, rescue=rescue)

    def told(answer: Object) -> None:
        freed = size_text(answer["deleted"]["bytes"])
        print(f"Rescue {answer['deleted']['id']} is deleted; {freed} are free again.")

    session.show(answers, told)


def _one_node(session: Session) -> None:
    if session.nodes is not None and (len(session.nodes) > 1 or session.nodes == ("*",)):
        raise OperatorError("a rescue lies on one node", "Write: -H NODE")


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _print_list(answer: Object) -> None:
    from rich.table import Table

    if "node" in answer:
        print(f"Node {answer['node']}:")
    if not answer["rescues"]:
        print("No rescues: nothing was overwritten that only this node had.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("rescue", "begun", "state", "why", "files", "size", "left out"):
        table.add_column(head, no_wrap=head == "rescue")
    for r in answer["rescues"]:
        if r["state"] == "damaged":
            table.add_row(r["id"], "", "[red]damaged[/]", r["text"], "", "", "")
            continue
        left_out = size_text(r["left_out_bytes"]) if r["left_out_bytes"] else ""
        why = REASONS.get(r["reason"], r["reason"])
        row = (r["id"], _when(r["begun_s"]), r["state"], why, str(r["files"]))
        table.add_row(*row, size_text(r["bytes"]), left_out)
    console().print(table)


def _print_rescue(answer: Object) -> None:
    r = answer["rescue"]
    print(f"{r['id']}: {REASONS.get(r['reason'], r['reason'])}.")
    print(f"Data of {r['node']}, generation {r['generation']}, saved from {_when(r['begun_s'])}.")
    if r["state"] == "complete":
        print(f"Complete since {_when(r['ended_s'])}.")
    else:
        print("Incomplete: the resync has not ended. What is here can be extracted.")
    if r["left_out_bytes"]:
        print(f"{size_text(r['left_out_bytes'])} had no room and are lost.")
    print(f"It lies in {r['path']} and takes {size_text(r['bytes'])}.")
    how = {"whole": "whole", "zones": "in parts", "attributes": "name or attributes only"}
    for name in r["names"]:
        size = size_text(name["size"]) if name["kind"] == "regular" else name["kind"]
        tree = f"{r['trees'][name['tree']]}/" if len(r["trees"]) > 1 else ""
        print(f"  {tree}{name['path'] or '.'}  {size}, {how[name['saved']]}")
    if r["names_total"] > len(r["names"]):
        print(f"  ... {r['names_total'] - len(r['names'])} more")


def _print_extracted(answer: Object) -> None:
    done = answer["extracted"]
    print(f"{done['files']} files and {done['others']} other names are in {done['into']}.")
    if done["attributes_only"]:
        print(
            f"Of {done['attributes_only']} files only the name or an attribute was different; "
            "they are not made."
        )
    for path in done["partial"]:
        print(f"  {path}: saved in parts; the rest is not from then")
    for path in done["left_out"]:
        print(f"  {path}: parts had no room and are lost")
    for path in done["damaged"]:
        print(f"  {path}: DAMAGED, its checksum is not that of the day it was saved")
