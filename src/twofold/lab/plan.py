"""What the torture will do, drawn from the seed. Pure: the same seed is the same plan.

A cut is one of two kinds. `ready`: the other node has everything, so it must take over. `resync`:
the primary is cut while the other is still receiving; nobody may serve then but the node that was
cut, so the service waits for its return. Both must end without a loss.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

CutKind = Literal["ready", "resync"]
SHARE_OF_RESYNC_CUTS = 0.2


@dataclass(frozen=True)
class Cut:
    """One power cut of the primary."""

    kind: CutKind
    after_s: float  # from the moment the kind allows it to the cut
    off_s: float  # how long the power stays away


def draw_plan(seed: int, kills: int) -> list[Cut]:
    drawn = random.Random(seed)
    cuts: list[Cut] = []
    for index in range(kills):
        # The first and the last cut are take-overs: a plan of one kill still tests the main thing.
        in_resync = 0 < index < kills - 1 and drawn.random() < SHARE_OF_RESYNC_CUTS
        longest_s = 0.4 if in_resync else 2.5
        cuts.append(
            Cut("resync" if in_resync else "ready", drawn.uniform(0, longest_s), _off_s(drawn))
        )
    return cuts


def _off_s(drawn: random.Random) -> float:
    """Mostly a quick restart, sometimes so quick that the other has not noticed yet."""
    return drawn.choice([0.0, 0.3, 1.0, 2.0]) + drawn.uniform(0, 0.5)
