"""Many seeds, in several processes; what fails is told by its seed and its promise."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.sim.run import play

PORTION = 25


@dataclass
class Tally:
    seeds: int = 0
    failed: list[tuple[int, str]] = field(default_factory=lambda: list[tuple[int, str]]())
    seconds: float = 0.0


def portion(first: int, count: int, plant: str) -> list[tuple[int, str]]:
    """The failures among `count` seeds."""
    outcomes = (play(seed, plant=plant) for seed in range(first, first + count))
    return [(o.seed, o.failed) for o in outcomes if o.failed]


def run(
    first: int,
    enough: Callable[[Tally], bool],
    jobs: int = 1,
    plant: str = "",
    told: Callable[[Tally], None] = lambda _t: None,
    count_max: int = 10**9,
) -> Tally:
    """Seeds from `first` on until `enough`; a portion that has begun is finished."""
    tally, begun_s = Tally(), time.monotonic()
    starts = _portions(first, count_max)

    def take(count: int, failed: list[tuple[int, str]]) -> None:
        tally.seeds += count
        tally.failed += failed
        tally.seconds = time.monotonic() - begun_s
        told(tally)

    if jobs == 1:
        for at, count in starts:
            take(count, portion(at, count, plant))
            if enough(tally):
                break
        return tally
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        under_way: dict[concurrent.futures.Future[list[tuple[int, str]]], int] = {}
        more = True
        while more or under_way:
            while more and len(under_way) < 2 * jobs:
                following = next(starts, None)
                if following is None:
                    more = False
                    break
                under_way[pool.submit(portion, *following, plant)] = following[1]
            ended, _ = concurrent.futures.wait(
                under_way, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in ended:
                take(under_way.pop(future), future.result())
            more = more and not enough(tally)
    return tally


def _portions(first: int, count_max: int) -> Iterator[tuple[int, int]]:
    last = first + count_max
    while first < last:
        count = min(PORTION, last - first)
        yield first, count
        first += count
