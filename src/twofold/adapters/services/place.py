"""Where the services of one module live, and what their programs are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from twofold.adapters.services.census import COOKIE

Facts = Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Place:
    """`facts` gives what changes, asked for at each call: TWOFOLD_STATE, TWOFOLD_PEER, ..."""

    module: str
    node: str
    run: Path  # RUN/NAME/services
    scripts: Path
    facts: Facts

    def log(self, name: str) -> Path:
        return self.run / f"{name}.log"

    def variables(self, cookie: str, **more: str) -> dict[str, str]:
        """What every service and script finds in its environment."""
        return {
            "TWOFOLD_MODULE": self.module,
            "TWOFOLD_NODE": self.node,
            **self.facts(),
            **more,
            COOKIE: cookie,
        }
