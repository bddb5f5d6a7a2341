"""The tree of commands. A group that is a file of its own adds itself here, in one line.

Every command pays for what is imported here: nothing that reads configuration (pydantic) or needs
the lab is loaded before the command that wants it.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command_name

from twofold.cli import (
    actions,
    arbitration,
    cluster,
    config,
    doctor,
    journal,
    k3s,
    k3s_install,
    k3s_later,
    mirror,
    module,
    node,
    notify,
    packing,
    resources,
    snapshot,
    state,
    switches,
    user,
    witness,
)
from twofold.cli.session import AsJson, OnNodes, Session, parse_nodes

LAB = "lab"  # not in every package


class Root(TyperGroup):
    """Loads the lab, the largest of the groups, when it is asked for by name or all are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return [*names, LAB] if LAB not in names and self._has_lab() else names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == LAB and LAB not in self.commands and self._has_lab():
            group = typer.main.get_command(importlib.import_module("twofold.cli.lab").app)
            group.name = LAB
            self.add_command(group)
        return super().get_command(ctx, cmd_name)

    def _has_lab(self) -> bool:
        return importlib.util.find_spec("twofold.cli.lab") is not None


app = typer.Typer(
    name="twofold",
    cls=Root,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="High availability on two ordinary servers.",
    epilog="Begin: twofold cluster init. To learn it on one machine: twofold lab demo.",
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    on: OnNodes = None,
    as_json: AsJson = False,
    version: bool = typer.Option(False, "--version", help="The version, and no more."),
) -> None:
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            print(installed("twofold"))
        except PackageNotFoundError:
            print("0.1.0 (not installed)")
        raise typer.Exit
    context.obj = Session(parse_nodes(on), as_json)


state.add_to(app)
actions.add_to(app)
journal.add_to(app)
doctor.add_to(app)
resources.add_to(app)
switches.add_to(app)
snapshot.add_to(app)
app.add_typer(cluster.app, name="cluster")
app.add_typer(node.app, name="node")
app.add_typer(witness.app, name="witness")
assert arbitration.app  # adds itself to cluster
app.add_typer(module.app, name="module")
packing.add_to(module.app)
app.add_typer(notify.app, name="notify")
app.add_typer(mirror.app, name="mirror")
app.add_typer(config.app, name="config")
assert k3s_install.app and k3s_later.app  # they add themselves to k3s
app.add_typer(k3s.app, name="k3s")
app.add_typer(user.app, name="user")


def tree_for(arguments: Sequence[str]) -> Any:
    """The tree in which these words are looked up. To build all of it takes as long as to import
    it, so when the first word names a command or a group, only that is in it.
    """
    word = arguments[0] if arguments else ""
    commands = [
        each
        for each in app.registered_commands
        if each.callback and (each.name or get_command_name(each.callback.__name__)) == word
    ]
    groups = [each for each in app.registered_groups if each.name == word]
    if not commands and not groups:
        return typer.main.get_command(app)
    part = copy.copy(app)
    part.registered_commands, part.registered_groups = commands, groups
    return typer.main.get_command(part)
