"""The options that every command has: `-H` (which nodes), `--json`; before or after the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from twofold.cli.output import print_error, print_json
from twofold.client import Client
from twofold.config.places import places
from twofold.errors import TwofoldError
from twofold.wire.lines import error_from

OnNodes = Annotated[
    str | None,
    typer.Option(
        "-H",
        "--on",
        metavar="NODES",
        help="On these nodes: 'a,b', or '*' for all.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON, for scripts.")]


def known_modules(incomplete: str) -> list[str]:
    """For the shell to complete: what is configured here; nothing when that is hidden."""
    try:
        names = sorted(p.name for p in (places().etc / "modules").iterdir() if p.is_dir())
    except OSError:
        return []
    return [n for n in names if n.startswith(incomplete) and not n.startswith(".")]


ModuleName = Annotated[
    str, typer.Argument(metavar="MODULE", show_default=False, autocompletion=known_modules)
]
AnyModule = Annotated[
    str | None,
    typer.Argument(metavar="[MODULE]", show_default=False, autocompletion=known_modules),
]


@dataclass(frozen=True)
class Session:
    """What the options of one command line mean."""

    nodes: tuple[str, ...] | None  # None: this node only
    as_json: bool

    @staticmethod
    def of(context: typer.Context, on: str | None, as_json: bool) -> Session:
        """The command's own options, else those given before the command."""
        before: Session | None = context.find_root().obj
        chosen = on if on is not None else None
        nodes = parse_nodes(chosen)
        if before is not None:
            nodes = nodes if nodes is not None else before.nodes
            as_json = as_json or before.as_json
        return Session(nodes, as_json)

    def ask(
        self, client: Client, command: str, timeout_s: float | None = None, **fields: Any
    ) -> list[dict[str, Any]]:
        """One answer for each node asked. With one node, its refusal is raised; with several, a
        refusal is an answer with `error`, so that one node does not hide the others.
        """
        if self.nodes is None:
            return [client.ask(command, timeout_s=timeout_s, **fields)]
        answers = client.ask_nodes(self.nodes, command, timeout_s=timeout_s, **fields)
        if len(answers) == 1 and "error" in answers[0]:
            raise error_from(answers[0]["error"])
        return answers

    def show(self, answers: list[dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> None:
        """JSON of all, or `show` for each node's answer and one line for each error."""
        if self.as_json:
            print_json(answers if self.nodes is not None else answers[0])
        for answer in answers:
            if "error" in answer and not self.as_json:
                error = error_from(answer["error"])
                print_error(_with_node(error, str(answer.get("node"))), False)
            elif not self.as_json:
                show(answer)
        failed = [a for a in answers if "error" in a]
        if failed:
            raise typer.Exit(11 if not failed[0].get("reachable", True) else 10)


def parse_nodes(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(n.strip() for n in text.split(",") if n.strip())
    if not names:
        raise typer.BadParameter("-H needs names such as a,b or '*'")
    return names


def _with_node(error: TwofoldError, node: str) -> TwofoldError:
    if node in error.sentence:
        return error
    error.sentence = f"node {node}: {error.sentence}"
    return error
