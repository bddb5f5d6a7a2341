"""`python -m twofold.rescue_process COMMAND STATE_DIR ...`: what is asked of a module's rescues.

The daemon runs it. The answer is one JSON value on standard output; a refusal is one sentence on
standard error and exit code 2. The work is done in Rust, where the format is known.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(words: Sequence[str]) -> int:
    from twofold import _mirror

    os.umask(0o077)
    try:
        match list(words):
            case ["list", state_dir]:
                answer = _mirror.rescue_list(state_dir)
            case ["show", state_dir, rescue, limit]:
                answer = _mirror.rescue_show(state_dir, rescue, int(limit))
            case ["extract", state_dir, rescue, into, *more]:
                answer = _mirror.rescue_extract(state_dir, rescue, into, more == ["with-current"])
            case ["delete", state_dir, rescue]:
                answer = _mirror.rescue_delete(state_dir, rescue)
            case _:
                raise ValueError(f"not a command of rescues: {list(words)}")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
