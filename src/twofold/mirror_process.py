"""The process `twofold-mirror`: the Rust engine of one module, started from Python.

Python only reads the command line and hands over. No Python runs between a request to the file
system and its reply. The engine writes its log to standard error and ends with the codes of
docs/internals/interfaces.md: 0 in order, 2 for a mistake in configuration or machine, 3 for a
fault.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the engine until it ends; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="twofold-mirror",
        description="The replication engine of one module; it is started by twofoldd.",
    )
    parser.add_argument("--config", required=True, metavar="PATH", help="the module's mirror.json")
    options = parser.parse_args(arguments)
    # Imported late: --help must work where the engine is not built.
    try:
        from twofold import _mirror
    except ImportError as error:
        print(f"The engine is not built: {error}. Run `make setup`.", file=sys.stderr)
        return 2
    # Python's own handler would only note the signal and wait for Python code that never runs.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _mirror.run(options.config)


if __name__ == "__main__":
    sys.exit(main())
