"""Where a witness keeps things, beside what a node of a cluster would keep on the same machine.

/etc/twofold/witness/CLUSTER_UUID/   ca.crt, witness.crt, witness.key, witness.json
/var/lib/twofold/witness/claims.sqlite
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from twofold.config.places import Places
from twofold.errors import MachineError

_CLUSTER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ABOUT = "witness.json"


@dataclass(frozen=True)
class Enrolled:
    """One cluster that this witness rules for."""

    cluster_id: str
    cluster: str  # its name, for people
    name: str  # this witness's name in that cluster
    address: str  # where the nodes reach it: HOST:PORT


def keys(places: Places) -> Path:
    return places.etc / "witness"


def claims_file(places: Places) -> Path:
    return places.var / "witness" / "claims.sqlite"


def enrolled(root: Path) -> Iterator[Enrolled]:
    for directory in sorted(root.iterdir()) if root.is_dir() else []:
        if _CLUSTER.fullmatch(directory.name) and (directory / ABOUT).is_file():
            yield read(directory)


def read(directory: Path) -> Enrolled:
    try:
        return Enrolled(**json.loads((directory / ABOUT).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise MachineError(
            f"{directory / ABOUT} is damaged",
            "Remove that directory and let the witness join anew.",
        ) from None


def about(enrolled: Enrolled) -> bytes:
    return (json.dumps(asdict(enrolled), indent=1) + "\n").encode()
