"""Every command of the CLI shows an example, and every example is one that the CLI would take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from twofold.cli.app import app

EXAMPLE = re.compile(r"Example: (twofold .+)")


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    context = command.context_class(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        if not child.hidden:
            yield from leaves(child, (*path, name))


ROOT: Any = get_command(app)
COMMANDS = dict(leaves(ROOT))


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_has_an_example_that_works(path: str) -> None:
    said = [" ".join(e.split()) for e in EXAMPLE.findall(COMMANDS[path].help or "")]
    assert said, f"`twofold {path}` has no line `Example: twofold ...` in its docstring"
    for example in said:
        words = shlex.split(re.split(" [<>] ", example)[0], comments=True)[1:]
        command, context = ROOT, ROOT.context_class(ROOT, info_name="twofold")
        while hasattr(command, "commands"):
            known = command.list_commands(context)
            assert words and words[0] in known, f"{example}: no command {words[:1]}"
            name, words = words[0], words[1:]
            command = command.get_command(context, name)
            context = command.context_class(
                command, info_name=name, parent=context, **command.context_settings
            )
        assert command.help == COMMANDS[path].help, (
            f"the example of `twofold {path}` is of another command"
        )
        command.parse_args(context, list(words))  # raises for a wrong option or a missing word
