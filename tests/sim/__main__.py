"""`make sim`: play many seeds, or one with its account.

    make sim SEEDS=10000            # seeds 0 to 9999; FROM=n begins elsewhere, JOBS=n processes
    make sim SEEDS=10000 JSON=1     # the last line is one JSON object: seeds, failed, seconds
    make sim SEED=77                # the account of one seed

Exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from tests.sim.many import Tally, run
from tests.sim.run import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=at_least_one, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=at_least_one, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--plant", default="", help="break one thing on purpose (see planted.py)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _tell(asked.seed, asked.plant)
    tally = run(
        asked.first,
        lambda _t: False,
        jobs=asked.jobs,
        plant=asked.plant,
        told=_progress if sys.stderr.isatty() else lambda _t: None,
        count_max=asked.seeds,
    )
    for seed, why in sorted(tally.failed)[:50]:
        sys.stdout.write(f"seed {seed}: {why}\n  read it with: make sim SEED={seed}\n")
    if asked.json:
        failed = sorted(seed for seed, _ in tally.failed)
        figures = {"seeds": tally.seeds, "failed": failed, "seconds": round(tally.seconds, 1)}
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        sys.stdout.write(
            f"{tally.seeds} seeds in {tally.seconds:.0f} s, {len(tally.failed)} broke a promise\n"
        )
    return 1 if tally.failed else 0


def at_least_one(text: str) -> int:
    """No seed at all would be a proof of nothing that ends well."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _progress(tally: Tally) -> None:
    sys.stderr.write(f"\r{tally.seeds} seeds, {len(tally.failed)} failed, {tally.seconds:.0f} s ")
    sys.stderr.flush()


def _tell(seed: int, plant: str) -> int:
    outcome = play(seed, telling=True, plant=plant)
    sys.stdout.write("\n".join(outcome.story) + "\n")
    sys.stdout.write(f"seed {seed}: {outcome.failed or 'every promise holds'}\n")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
