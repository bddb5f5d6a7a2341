"""`twofold mirror`: the two copies of a module's directories."""

from __future__ import annotations

import typer

from twofold.cli import estimate, mirror_status, rescue, resync, verification

app = typer.Typer(no_args_is_help=True, help="The two copies of a module's directories.")


@app.callback()
def group() -> None:
    """The two copies of a module's directories."""


app.command("status")(mirror_status.status)
app.command("verify")(verification.verify)
app.command("estimate")(estimate.estimate)
app.command("resync")(resync.resync)
app.add_typer(rescue.app, name="rescue")
