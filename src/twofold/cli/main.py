"""`twofold`: parse, run, and turn whatever goes wrong into a sentence and an exit code."""

from __future__ import annotations

import os
import sys

from twofold.cli.output import EXIT_BUG, EXIT_MACHINE, EXIT_OPERATOR, exit_code, print_error
from twofold.errors import BrokenInvariant, MachineError, OperatorError, TwofoldError


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command line; returns its exit code. Never shows a traceback to a person."""
    import click
    from typer.main import get_command

    from twofold.cli.app import app

    as_json = "--json" in arguments
    try:
        code = get_command(app).main(args=arguments, prog_name="twofold", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TwofoldError as e:
        print_error(e, as_json)
        return exit_code(e)
    except click.exceptions.NoArgsIsHelpError:
        return 0
    except click.UsageError as e:
        words = e.ctx.command_path if e.ctx is not None else "twofold"
        print_error(OperatorError(e.format_message(), f"See: {words} --help"), as_json)
        return EXIT_OPERATOR
    except click.ClickException as e:
        print_error(OperatorError(e.format_message()), as_json)
        return EXIT_OPERATOR
    except (click.Abort, KeyboardInterrupt):
        print("Left; what was begun goes on. See: twofold state", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PermissionError as e:
        print_error(
            MachineError(f"permission denied: {e.filename}", "Run it as root (sudo)."), as_json
        )
        return EXIT_MACHINE
    except Exception as e:
        if os.environ.get("TWOFOLD_TRACEBACK"):
            raise
        error = BrokenInvariant(
            f"an internal error: {type(e).__name__}: {e}",
            "Please report it with the output of TWOFOLD_TRACEBACK=1 and the same command.",
        )
        print_error(error, as_json)
        return EXIT_BUG
