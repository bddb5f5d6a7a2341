"""What the nodes said last, told when a run fails: the lab itself is gone a moment later."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .lab import NODES, Lab
from .told import Account

LINES = 25


def tell_last_words(lab: Lab, account: Account, module: str) -> None:
    """The ends of the daemon's and the engine's logs of both nodes."""
    for node in NODES:
        for log in ("/run/twofold-lab/twofoldd.log", f"/run/twofold/{module}/mirror.log"):
            words = _last_lines(lab, node, log)
            account.heading(f"{node}: {log}" + ("" if words else " (node off, or nothing said)"))
            for line in words:
                account.plain(line)


def _last_lines(lab: Lab, node: str, log: str) -> list[str]:
    if not lab.is_up(node):
        return []
    path: Path = lab.inside(node, log)
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").splitlines()[-LINES:]
    return []
