"""`make test-vm`: the tests of this folder, and with --json one object at the end (what people
read goes to stderr, progress too). --kills N: how often the primary of the K3s tests is killed.
--minutes N: no kill is begun after so long. --again: begins with the pair that the installer of an
earlier run left (`kept`), if all of it is the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .results import PLACE

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    words = [word for word in arguments if word not in ("--json", "--again")]
    environment = dict(os.environ)
    if "--again" in arguments:
        environment["TWOFOLD_VM_AGAIN"] = "1"
    for option in ("--kills", "--minutes"):
        if option in words:
            at = words.index(option)
            environment[f"TWOFOLD_VM_{option[2:].upper()}"] = words[at + 1]
            del words[at : at + 2]
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
