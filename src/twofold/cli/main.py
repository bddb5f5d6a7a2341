"""`twofold`: parse, run, and turn whatever goes wrong into a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

from twofold.cli.output import (
    EXIT_BUG,
    EXIT_LEFT,
    EXIT_MACHINE,
    EXIT_OPERATOR,
    exit_code,
    print_error,
)
from twofold.errors import BrokenInvariant, MachineError, OperatorError, TwofoldError


def main() -> None:
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """One command line; returns its exit code. Never shows a traceback to a person.

    Raises `BrokenPipeError`, also out of the help, when nobody reads any more.
    """
    from typer import Abort

    from twofold.cli.app import tree_for

    as_json = "--json" in arguments
    try:
        code = tree_for(arguments).main(args=arguments, prog_name="twofold", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TwofoldError as e:
        print_error(e, as_json)
        return exit_code(e)
    except (Abort, KeyboardInterrupt) as e:
        asked = isinstance(e, Abort) and e.__cause__ is None  # at a question, not while following
        told = "Nothing was done." if asked else "Left; what was begun goes on. See: twofold state"
        print(told, file=sys.stderr)
        return EXIT_LEFT
    except BrokenPipeError:
        raise
    except PermissionError as e:
        print_error(
            MachineError(f"permission denied: {e.filename}", "Run it as root (sudo)."), as_json
        )
        return EXIT_MACHINE
    except Exception as e:
        if hasattr(e, "format_message"):
            return _usage(e, as_json)
        if os.environ.get("TWOFOLD_TRACEBACK"):
            raise
        error = BrokenInvariant(
            f"an internal error: {type(e).__name__}: {e}",
            "Please report it with the output of TWOFOLD_TRACEBACK=1 and the same command.",
        )
        print_error(error, as_json)
        return EXIT_BUG


def _usage(error: Any, as_json: bool) -> int:
    """A command line that the parser refused. Typer has click inside itself or beside it,
    depending on its version, so these errors are known by what they can do.
    """
    text = str(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":  # it has printed the help already, or is it
        if text:
            print(text)
        return 0
    context = getattr(error, "ctx", None)
    words = context.command_path if context is not None else "twofold"
    print_error(OperatorError(text, f"See: {words} --help"), as_json)
    return EXIT_OPERATOR
