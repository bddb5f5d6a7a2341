"""What a run of the real machines counted, added up over its tests: the one JSON object of `make
test-vm JSON=1`.

`lost`: acknowledged writes that were not there in the end. `estale`, `eio`: such errors that a
program on an NFS volume saw. `outage_ms`: for each event its longest pause between two
acknowledgements, on emulated processors. `resyncs`: what the return of a machine that was cut
off cost, as the node that serves counted it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PLACE = "TWOFOLD_VM_RESULT"


@dataclass
class Results:
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    estale: int = 0
    eio: int = 0
    outage_ms: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    resyncs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def outage(self, event: str, ms: int) -> None:
        self.outage_ms.setdefault(event, []).append(ms)

    def write(self) -> None:
        """To the file that the environment names, if it names one."""
        if place := os.environ.get(PLACE):
            Path(place).write_text(json.dumps(asdict(self)) + "\n")
