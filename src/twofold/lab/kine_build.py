"""kine, made from its public source when a torture needs it and it is not here.

It is no part of Twofold and no Debian package, so the lab has Go make it, once, pinned to one
version, into a folder of the checkout (or of root's cache). Nothing of it is installed elsewhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from twofold.errors import MissingRequirement
from twofold.lab.requirements import KINE_MODULE, KINE_VERSION, find_go, find_kine, kine_folder

BUILD_WITHIN_S = 900.0


def provide_kine(say: Callable[[str], None]) -> None:
    """Does nothing when kine is here, or when there is no Go (what lacks is said elsewhere)."""
    go = find_go()
    if find_kine() is None and go is not None:
        build_kine(go, kine_folder(), say)


def build_kine(go: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Makes `folder`/kine. Raises `MissingRequirement` with Go's last words when that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    say(f"kine is not here: building {KINE_VERSION} in {folder} (once; a minute or two)")
    command = [str(go), "install", f"{KINE_MODULE}@{KINE_VERSION}"]
    try:
        built = subprocess.run(
            command,
            env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder)},
            capture_output=True,
            text=True,
            timeout=BUILD_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MissingRequirement(
            f"kine could not be built within {BUILD_WITHIN_S:.0f} s: `{' '.join(command)}`"
        ) from None
    if built.returncode != 0 or not os.access(folder / "kine", os.X_OK):
        last = built.stderr.strip()[-600:] or "Go said nothing"
        raise MissingRequirement(f"kine could not be built: `{' '.join(command)}`: {last}")


if __name__ == "__main__":  # for scripts/setup.sh
    provide_kine(print)
