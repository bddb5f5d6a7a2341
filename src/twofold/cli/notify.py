"""`twofold notify`: who is told of events, and whether that works."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_PEER
from twofold.cli.session import AsJson, OnNodes, Session
from twofold.client import Client

app = typer.Typer(no_args_is_help=True, help="Who is told of events: mail, chat, webhook, script.")

Target = Annotated[str, typer.Argument(metavar="NAME", help="As in [[notify]] of cluster.toml.")]
TEST_TIMEOUT_S = 90.0


@app.command()
def test(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Send a test to NAME or to all, from this node; exit code 11 when one was not taken.

    Example: twofold notify test -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "notify_test", TEST_TIMEOUT_S, name=name)

    def show(answer: dict[str, Any]) -> None:
        for sent in answer["sent"]:
            where = f"{answer['node']}: " if "node" in answer else ""
            mark = "✔" if sent["ok"] else "✘"
            print(f"{where}{mark} {sent['name']} ({sent['kind']}): {sent['text']}")

    session.show(answers, show)
    if not all(s["ok"] for a in answers for s in a.get("sent", ())):
        raise typer.Exit(EXIT_PEER)


@app.command("set")
def set_(
    context: typer.Context,
    name: Target,
    url: Annotated[
        str, typer.Option("--url", prompt="URL", hide_input=True, help="'-' reads a line.")
    ],
    as_json: AsJson = False,
) -> None:
    """Keep the secret URL of NAME on all nodes, in notify.toml, readable by root alone.

    It is asked for, so that it stands in no history and no process list; '-' reads it from a pipe.
    An empty one removes it. Which URLs there are: the page of the library Apprise

    Example: twofold notify set ops --url - < url.txt
    """
    session = Session.of(context, None, as_json)
    if url == "-":
        url = typer.get_text_stream("stdin").readline()
    with Client() as client:
        answer = client.ask("notify_set", timeout_s=30.0, name=name, value=url.strip())

    def show(a: dict[str, Any]) -> None:
        if a["nodes"]:
            print(f"The URL of {a['name']} is kept on {' and '.join(a['nodes'])}.")
        for failed in a["failed"]:
            print(f"Not on {failed['node']}: {failed['text']}. Do it again when it is back.")

    session.show([answer], show)
    if answer["failed"]:
        raise typer.Exit(EXIT_PEER)


@app.command("list")
def show(context: typer.Context, on: OnNodes = None, as_json: AsJson = False) -> None:
    """The targets of cluster.toml, and whether this node knows their URL.

    Example: twofold notify list -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "notify_list")

    def show_one(answer: dict[str, Any]) -> None:
        where = f"{answer['node']}: " if "node" in answer else ""
        for t in answer["targets"]:
            secret = t["kind"] == "script" or t["url"] or t["secret"]
            known = "" if secret else f"  its URL is missing: twofold notify set {t['name']}"
            print(f"{where}{t['name']:<12} {t['kind']:<8} {t['severity']:<6}{known}")
        if not answer["targets"]:
            print(f"{where}Nobody is told. Add a [[notify]] section to cluster.toml.")

    session.show(answers, show_one)
