"""`twofold node`: who is in the cluster, and how a node that is dead for good leaves it."""

from __future__ import annotations

import typer

from twofold.cli import cluster

app = typer.Typer(no_args_is_help=True, help="The nodes of the cluster (see also: cluster).")
app.command("list")(cluster.state)
app.command("remove")(cluster.remove)
