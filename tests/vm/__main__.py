"""`make test-vm`: the tests of this folder, and with --json one object at the end (what people
read goes to stderr, progress too). --kills N: how often the primary of the K3s tests is killed.
--minutes N: no kill is begun after so long. --again: begins with the pair that the installer of an
earlier run left (`kept`), if all of it is the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.sim.__main__ import at_least_one

from .results import PLACE

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make test-vm", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--kills", type=at_least_one, metavar="N")
    parser.add_argument("--minutes", type=at_least_one, metavar="N")
    chosen, words = parser.parse_known_args(arguments)  # the rest is for pytest
    as_json: bool = chosen.json
    environment = dict(os.environ)
    if chosen.again:
        environment["TWOFOLD_VM_AGAIN"] = "1"
    for option in ("kills", "minutes"):
        if (number := getattr(chosen, option)) is not None:
            environment[f"TWOFOLD_VM_{option.upper()}"] = str(number)
    with tempfile.TemporaryDirectory(prefix="twofold-vm-result-") as folder:
        place = Path(folder) / "result.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-m", "vm", "-v", "-s", "tests/vm", *words],
            cwd=ROOT,
            env={**environment, PLACE: str(place)},
            stdout=sys.stderr if as_json else None,
        )
        if as_json and place.exists():
            print(place.read_text(), end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
