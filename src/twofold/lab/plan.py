"""What the torture will do, drawn from the seed. Pure: the same seed is the same plan.

A cut is one of three kinds. `ready`: the other node has everything, so it must take over. `blink`:
the same, but the power is back at once, before anybody can be sure that it was gone. `resync`: the
primary is cut while the other is still receiving; nobody may serve then but the node that was cut,
so the service waits for its return. All must end without a loss.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

CutKind = Literal["ready", "blink", "resync"]
SHARES: dict[CutKind, float] = {"ready": 0.65, "blink": 0.15, "resync": 0.2}


@dataclass(frozen=True)
class CableFault:
    """One cable pulled while both nodes are on; the other cable stays, so nobody may take over."""

    node: str
    network: str
    silent: bool
    for_s: float


@dataclass(frozen=True)
class Blackout:
    """Both nodes lose their power at once, and get it back one after the other."""

    first_back: str
    between_s: float


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
        (kind,) = drawn.choices(list(SHARES), list(SHARES.values()))
        if index in (0, kills - 1):
            kind = "ready"
        longest_s = 0.4 if kind == "resync" else 2.5
        cuts.append(Cut(kind, drawn.uniform(0, longest_s), _off_s(drawn)))
    return cuts


def draw_cable_faults(seed: int, count: int) -> list[CableFault]:
    """One for each power cut, before it; drawn apart, so that the cuts stay those of the seed."""
    drawn = random.Random(f"cables {seed}")
    return [
        CableFault(
            drawn.choice("ab"),
            drawn.choice(["lan", "flow"]),
            drawn.random() < 0.5,
            drawn.uniform(0.2, 6.0),
        )
        for _ in range(count)
    ]


def draw_blackouts(seed: int, count: int) -> list[Blackout]:
    """One for each power cut, before it."""
    drawn = random.Random(f"blackouts {seed}")
    return [Blackout(drawn.choice("ab"), drawn.uniform(0, 3.0)) for _ in range(count)]


def _off_s(drawn: random.Random) -> float:
    """After the take-over; so the returning node finds writes that it has not seen."""
    return drawn.choice([0.0, 0.3, 1.0, 2.0]) + drawn.uniform(0, 0.5)
