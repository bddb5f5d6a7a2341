"""What a person reads, and the exit codes that scripts read.

0 done; 10 the request is wrong or not possible now; 11 another node does not answer or refuses;
12 this machine (no daemon, no right, a missing requirement); 13 the application; 14 not reached in
time; 19 a bug of ours. `state -q` alone uses 0 to 4 for states.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from twofold.errors import (
    ApplicationError,
    MachineError,
    OperatorError,
    PeerError,
    TwofoldError,
)

if TYPE_CHECKING:
    from rich.console import Console

EXIT_OPERATOR = 10
EXIT_PEER = 11
EXIT_MACHINE = 12
EXIT_APPLICATION = 13
EXIT_NOT_REACHED = 14
EXIT_BUG = 19
EXIT_LEFT = 130

STATE_EXIT_CODES = {"STOP": 0, "WAIT": 1, "ALONE": 2, "UP": 2, "PRIM": 3, "SECOND": 4}


class NotReached(TwofoldError):
    """What was asked for did not happen in the given time."""

    code = "not_reached"


def console() -> Console:
    from rich.console import Console

    # In a pipe a fixed, generous width: lines that a script reads must not be folded.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def exit_code(error: TwofoldError) -> int:
    if isinstance(error, NotReached):
        return EXIT_NOT_REACHED
    for kind, code in (
        (OperatorError, EXIT_OPERATOR),
        (PeerError, EXIT_PEER),
        (MachineError, EXIT_MACHINE),
        (ApplicationError, EXIT_APPLICATION),
    ):
        if isinstance(error, kind):
            return code
    return EXIT_BUG if error.code == "bug" else EXIT_OPERATOR


def print_error(error: TwofoldError, as_json: bool) -> None:
    """One red sentence, the mend on the next line; or an object."""
    sentence, mend = error.sentence or str(error), error.mend
    if as_json:
        print_json({"error": {"code": error.code, "text": sentence, "mend": mend}})
        return
    red, plain = ("\033[31m", "\033[0m") if _coloured() else ("", "")
    first = sentence.split(" ", 1)[0]
    if not set(first) & set("./_=-"):  # a file's or option's name keeps its case
        sentence = sentence[:1].upper() + sentence[1:]
    if "\n" not in sentence and not sentence.endswith((".", "!", "?", ":")):
        sentence += "."
    print(f"{red}{sentence}{plain}", file=sys.stderr)
    if mend:
        print(mend, file=sys.stderr)


def _coloured() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
