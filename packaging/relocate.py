#!/usr/bin/env python3
"""Makes a Python environment that was built in one folder right for another: relocate.py HERE
THERE.

An environment names its own folder in few places: the first lines of its programs and
`pyvenv.cfg`. Programs that libraries bring along, and what activates an environment, nobody needs
in a package: they go. Afterwards nothing in it names HERE; if a file still does, that is said and
the exit code is 1.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

KEEP = ("python", "twofold")


def main(here: Path, there: str) -> int:
    old, new = str(here).encode(), there.encode()
    for program in here.glob("bin/*"):
        if not program.name.startswith(KEEP):
            program.unlink()
    for folder in ("include", "testing"):
        shutil.rmtree(here / folder, ignore_errors=True)
    for path in [*here.glob("bin/*"), here / "pyvenv.cfg"]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if old in content:
                path.write_bytes(content.replace(old, new))
    # Where pip found the wheel is nobody's business any more.
    for record in here.glob("lib/python3*/site-packages/*.dist-info/direct_url.json"):
        record.unlink()
        listing = record.with_name("RECORD")
        lines = listing.read_text().splitlines(keepends=True)
        listing.write_text("".join(li for li in lines if "direct_url.json" not in li))
    left = [p for p in here.rglob("*") if p.is_file() and not p.is_symlink() and names(p, old)]
    for path in left:
        print(f"{path} still names {here}", file=sys.stderr)
    return 1 if left else 0


def names(path: Path, old: bytes) -> bool:
    return old in path.read_bytes()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
