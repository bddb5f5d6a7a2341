"""Where this node keeps things; each place can be moved by an environment variable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    etc: Path  # configuration and keys
    var: Path  # what a node remembers
    run: Path  # what lives until reboot

    @property
    def socket(self) -> Path:
        return self.run / "twofoldd.sock"

    @property
    def all(self) -> tuple[Path, Path, Path]:
        return (self.etc, self.var, self.run)


def places() -> Places:
    return Places(
        Path(os.environ.get("TWOFOLD_ETC") or "/etc/twofold"),
        Path(os.environ.get("TWOFOLD_VAR") or "/var/lib/twofold"),
        Path(os.environ.get("TWOFOLD_RUN") or "/run/twofold"),
    )
