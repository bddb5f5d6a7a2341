"""`--set NAME=VALUE`: the variables of a module, as they are typed."""

from __future__ import annotations

from typing import Annotated

import typer

from twofold.errors import OperatorError

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A variable of the module; once for each."),
]


def assignments(texts: list[str]) -> dict[str, str]:
    """{"address": "10.0.0.1/24"} of ["address=10.0.0.1/24"]."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise OperatorError(
                f"--set {text} is not NAME=VALUE", "Write: --set address=10.0.0.9/24"
            )
        values[name] = value
    return values
