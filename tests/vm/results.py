"""What a run of the real machines counted, added up over its tests: the one JSON object of `make
test-vm JSON=1`.

`lost`: acknowledged writes that were not there in the end. `estale`, `eio`: such errors that a
program on an NFS volume saw. These are null where no test came to count them: a run that was cut
short has lost nothing that anybody knows of. `outage_ms`: for each event its longest pause between
two acknowledgements, on emulated processors. `resyncs`: what the return of a machine that was cut
off cost, as the node that serves counted it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PLACE = "TWOFOLD_VM_RESULT"


@dataclass
class Results:
    kills: int = 0
    acknowledged: int | None = None
    lost: int | None = None
    estale: int | None = None
    eio: int | None = None
    outage_ms: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    resyncs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def count(self, acknowledged: int, lost: int) -> None:
        self.acknowledged = (self.acknowledged or 0) + acknowledged
        self.lost = (self.lost or 0) + lost

    def saw(self, errors: Sequence[str]) -> None:
        """What the programs on the volumes met."""
        self.estale = (self.estale or 0) + errors.count("ESTALE")
        self.eio = (self.eio or 0) + errors.count("EIO")

    def outage(self, event: str, ms: int) -> None:
        self.outage_ms.setdefault(event, []).append(ms)

    def write(self) -> None:
        """To the file that the environment names, if it names one."""
        if place := os.environ.get(PLACE):
            Path(place).write_text(json.dumps(asdict(self)) + "\n")
