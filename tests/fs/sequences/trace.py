"""A random sequence: steps chosen by a seed, each told as plain values."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Step = Callable[[], object]


class Sequence:
    """`root` is empty at the beginning and belongs to this sequence alone."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.told: list[tuple[Any, ...]] = []

    def steps(self) -> list[tuple[int, Step]]:
        """Each with its weight. A step draws what it needs from `rng` before it acts."""
        raise NotImplementedError

    def tell(self, *what: object) -> None:
        self.told.append((len(self.told), *what))

    def attempt(self, name: str, *given: object, do: Callable[[], object]) -> None:
        """Does it and tells what came of it: its result, or the name of its error."""
        try:
            result = do()
        except OSError as error:
            result = errno.errorcode[error.errno or 0]
        self.tell(name, *given, result)

    def run(self, count: int) -> None:
        table = self.steps()
        weights = [weight for weight, _ in table]
        for _ in range(count):
            self.rng.choices(table, weights)[0][1]()

    def rest(self) -> None:
        """Before the tree may go away: nothing stays open."""


def first_difference(expected: Sequence, got: Sequence) -> str | None:
    for number, (wanted, told) in enumerate(zip(expected.told, got.told, strict=False)):
        if wanted != told:
            before = "\n".join(
                f"  {step!r:.300}" for step in expected.told[max(0, number - 12) : number]
            )
            return f"{before}\nwanted {wanted!r:.600}\ngot    {told!r:.600}"
    if len(expected.told) != len(got.told):
        return f"{len(expected.told)} steps were wanted, {len(got.told)} told"
    return None
