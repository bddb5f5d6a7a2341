"""`twofold config`: check, apply, compare and take back configuration; schema, example, reference.

TARGET is a module's name, or `cluster.toml` (`cluster` will do).
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_OPERATOR, print_json
from twofold.cli.session import AnyModule, AsJson, OnNodes, Session
from twofold.cli.variables import Set, assignments
from twofold.client import Client
from twofold.errors import OperatorError
from twofold.wire.local import APPLY_TIMEOUT_S

app = typer.Typer(no_args_is_help=True, help="Configuration: check, apply, compare, take back.")

CLUSTER = "cluster.toml"

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A module, or cluster.toml.", show_default=False)
]
Why = Annotated[str, typer.Option("-m", "--why", metavar="TEXT", help="Kept in the history.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would change, and when it would count.")
]
VersionOf = Annotated[
    int | None, typer.Option("--version", metavar="N", help="As in `config history`.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="SOURCE", help="A file (cluster.toml) or a module's directory."),
]


class File(StrEnum):
    MODULE = "module"
    CLUSTER = "cluster"
    NODE = "node"


@app.command()
def check(
    context: typer.Context,
    module: AnyModule = None,
    source: From = None,
    values: Set = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Check configuration; says file, line, column and mend.

    Without --from: the files under /etc/twofold. With it, files from elsewhere are checked on all
    nodes as if they were applied to MODULE.

    Example: twofold config check shop --from ./shop --set address=10.0.0.100/24
    """
    if values and source is None:
        raise OperatorError(
            "--set gives a variable to the files of --from, and none are named.",
            "Say --from and the module's directory; without --set the files in force are checked.",
        )
    session = Session.of(context, on, as_json)
    with Client() as client:
        if source is not None:
            fields = _files(target_name(module or CLUSTER), source)
            fields["set"] = assignments(values or [])
            answers = [client.ask("config_check", timeout_s=APPLY_TIMEOUT_S, **fields)]
        else:
            wanted: dict[str, Any] = {} if module is None else {"module": module}
            answers = session.ask(client, "config_check", **wanted)

    def show(answer: dict[str, Any]) -> None:
        where = f"node {answer['node']}: " if "node" in answer else ""
        for problem in answer["problems"]:
            print(f"{where}{problem}")
        if not answer["problems"]:
            print(f"{where}{', '.join(answer['checked'])}: nothing wrong.")
            print_effects(answer)

    session.show(answers, show)
    if any(a.get("problems") for a in answers):
        raise typer.Exit(EXIT_OPERATOR)


@app.command()
def apply(
    context: typer.Context,
    target: Target,
    source: From = None,
    why: Why = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put TARGET on all nodes, or on none: this node's files, or those of --from.

    Every node checks it first. What cannot change while a module runs is refused, what counts only
    from its next start is said; --dry-run says both and changes nothing.

    Example: twofold config apply cluster.toml --from ./cluster.toml -m "slower heartbeats"
    """
    session = Session.of(context, None, as_json)
    fields = _files(target_name(target), source)
    with Client() as client:
        answer = client.ask(
            "config_apply", timeout_s=APPLY_TIMEOUT_S, why=why, dry_run=dry_run, **fields
        )
    session.show([answer], print_applied)
    if answer["problems"]:
        raise typer.Exit(EXIT_OPERATOR)


@app.command()
def history(
    context: typer.Context, target: Target, on: OnNodes = None, as_json: AsJson = False
) -> None:
    """The last ten versions of TARGET: number, when, who, why; * is what is there now.

    Example: twofold config history mariadb
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "config_history", target=target_name(target))

    def show(answer: dict[str, Any]) -> None:
        if "node" in answer:
            print(f"Node {answer['node']}:")
        for v in answer["versions"]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(v["at"])))
            mark = "*" if v["current"] else " "
            what = "removed" if v["removed"] else v["digest"][:8]
            by = " ".join(p for p in (v["by"], f"on {v['node']}" if v["node"] else "") if p)
            print(f"{mark}{v['number']:>4}  {at}  {what:<8}  {by:<20}  {v['why']}".rstrip())
        if not answer["versions"]:
            print(f"Nothing was applied to {answer['target']} yet.")
        if answer["edited"]:
            print(
                f"The files here were edited and not applied: twofold config apply "
                f"{answer['target']}, or take them back: twofold config rollback {answer['target']}"
            )

    session.show(answers, show)


@app.command()
def diff(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", show_default=False)
    ] = None,
    version: VersionOf = None,
    with_node: Annotated[
        str | None, typer.Option("--with", metavar="NODE", help="Against what NODE has.")
    ] = None,
    source: From = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Differences; the exit code is 10 when there are any.

    Without TARGET: which files are not the same on all nodes. With it, line by line: this node's
    files against the last applied version, or --version, --with NODE, --from SOURCE.

    Example: twofold config diff mariadb --version 2
    """
    session = Session.of(context, None, as_json)
    fields: dict[str, Any] = {}
    if target is not None:
        fields = _files(target_name(target), source)
        fields |= {"version": version, "with_node": with_node}
    with Client() as client:
        answer = client.ask("config_diff", **fields)
    differences: list[dict[str, Any]] = answer["differences"]
    if session.as_json:
        print_json(answer if target is not None else differences)
    elif target is None:
        _print_between_nodes(differences)
    else:
        for d in differences:
            print(f"{d['file']} {d['what']} ({answer['from']} → {answer['to']})")
            print(d["lines"], end="")
        if not differences:
            print(f"{target}: no difference ({answer['from']} → {answer['to']}).")
    if differences:
        raise typer.Exit(EXIT_OPERATOR)


def _print_between_nodes(differences: list[dict[str, Any]]) -> None:
    for d in differences:
        how = f"is only on {d['only_on']}" if d["only_on"] else f"differs on {d['node']}"
        print(f"{d['file']} {how}")
    if differences:
        print("Take this node's: twofold config apply TARGET. To see it first: twofold config diff "
              f"TARGET --with {differences[0]['node']}")  # fmt: skip
    else:
        print("All nodes have the same configuration.")


@app.command()
def rollback(
    context: typer.Context,
    target: Target,
    version: VersionOf = None,
    why: Why = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put an older version of TARGET on all nodes; by itself the one before what is there now.

    It is a new version of its own, so a rollback can be taken back as well. A module that was
    removed comes back.

    Example: twofold config rollback mariadb --version 3 --dry-run
    """
    session = Session.of(context, None, as_json)
    fields: dict[str, Any] = {"target": target_name(target), "version": version}
    fields["dry_run"] = dry_run
    if why:
        fields["why"] = why
    with Client() as client:
        answer = client.ask("config_rollback", timeout_s=APPLY_TIMEOUT_S, **fields)
    if not session.as_json:
        print(f"Back to version {answer['back_to']}.")
    session.show([answer], print_applied)
    if answer["problems"]:
        raise typer.Exit(EXIT_OPERATOR)


@app.command()
def show(
    context: typer.Context,
    target: Target,
    version: VersionOf = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """The files of TARGET, as they are now or as they were in a version.

    Example: twofold config show mariadb --version 2
    """
    session = Session.of(context, on, as_json)
    fields: dict[str, Any] = {"target": target_name(target), "version": version}
    with Client() as client:
        answers = [
            {k: v for k, v in a.items() if k != "packed"}
            for a in session.ask(client, "config_show", **fields)
        ]

    def print_files(answer: dict[str, Any]) -> None:
        for path, content in answer["files"].items():
            print(f"# --- {path}\n{content.rstrip()}\n")

    session.show(answers, print_files)


@app.command()
def drift(context: typer.Context, as_json: AsJson = False) -> None:
    """What is not the same on all nodes, or was edited and not applied; exit code 10 if any.

    Example: twofold config drift
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        answer = client.ask("config_drift")
    if session.as_json:
        print_json(answer)
    else:
        for d in answer["drift"]:
            print(f"{d['text']}.\n  → {d['mend']}")
        for node in answer["silent"]:
            print(f"Node {node} does not answer.")
        if not answer["drift"] and not answer["silent"]:
            print("All nodes have the same configuration, as it was applied.")
    if answer["drift"]:
        raise typer.Exit(EXIT_OPERATOR)


@app.command()
def schema(
    file: Annotated[File, typer.Argument(help="Which file.")] = File.MODULE,
) -> None:
    """The JSON Schema of module.toml, cluster.toml or node.toml, for editors.

    Example: twofold config schema module > module.schema.json
    """
    from twofold.config.example import MODELS
    from twofold.config.render import json_schema

    print(json_schema(MODELS[file.value]), end="")


@app.command()
def example(
    file: Annotated[File, typer.Argument(help="Which file.")] = File.MODULE,
) -> None:
    """An example with every key, its default and its meaning, to begin from.

    Example: twofold config example module > module.toml
    """
    from twofold.config.example import example as text

    print(text(file.value), end="")


@app.command()
def reference() -> None:
    """Every key with its default and meaning, as a page (Markdown).

    Example: twofold config reference > config.md
    """
    from twofold.config.render import reference_page

    print(reference_page(), end="")


def target_name(text: str) -> str:
    return CLUSTER if text in ("cluster", CLUSTER) else text


def _files(target: str, source: str | None) -> dict[str, Any]:
    """The fields of a request: the target, and the files of `--from` when given."""
    from pathlib import Path

    from twofold.cli.library import files_from
    from twofold.wire.files import pack

    if source is None:
        return {"target": target}
    if target != CLUSTER:
        return {"target": target, "files": pack(files_from(source))}
    try:
        content = Path(source).read_bytes()
    except OSError as e:
        raise OperatorError(f"{source} cannot be read: {e.strerror}") from None
    return {"target": target, "files": pack({CLUSTER: (0o644, content)})}


def print_applied(answer: dict[str, Any]) -> None:
    target, nodes = answer["target"], " and ".join(answer["nodes"])
    for problem in answer["problems"]:
        print(problem)
    if answer["dry_run"]:
        told = "would be refused" if answer["problems"] else "could be applied"
        print(f"{target} {told} on {nodes}; nothing was changed.")
    else:
        print(f"{target} is applied on {nodes} (version {answer['version']}).")
    for node in answer.get("later", ()):
        print(f"Node {node} fell silent at the end; it takes this version when it is back.")
    if not answer["problems"]:
        print_effects(answer)


def print_effects(answer: dict[str, Any]) -> None:
    """What it does to what runs; the same line of several nodes once."""
    nodes: dict[str, list[str]] = {}
    for effect in answer.get("effects", ()):
        nodes.setdefault(str(effect["text"]), []).append(str(effect["node"]))
    for text, where in nodes.items():
        everywhere = set(where) == set(answer["nodes"])
        print(f"  {text}{'' if everywhere else ' on ' + ' and '.join(where)}")
    later = {str(e["node"]) for e in answer.get("effects", ()) if e["when"] == "next_start"}
    if later:
        target = answer["target"]
        print(f"To have it all now, with a pause of the service: twofold stopstart {target} -H "
              f"'{'*' if later == set(answer['nodes']) else ','.join(sorted(later))}'")  # fmt: skip
