"""From samples to what is printed and kept: medians, ratios, a table. Pure.

`latest.json` carries `ratios` as `{WORK: {"vs_gluster": n, "vs_bare": n}}`; the last work,
`randwrite_4k_cached`, is the random write with `sync = "fsync"`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.works import WORKS

Figures = Mapping[str, Mapping[str, float]]  # subject, work
Samples = Mapping[str, Mapping[str, Sequence[float]]]  # subject, work, one figure for each round

# name of the ratio, subject of Twofold, work
RATIOS = (
    *((work.name, "twofold_write", work.name) for work in WORKS),
    ("randwrite_4k_cached", "twofold_fsync", "randwrite_4k"),
)


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    return {
        subject: {work: statistics.median(figures) for work, figures in works.items()}
        for subject, works in samples.items()
    }


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """None when one of the two was not measured in this run."""
    return round(ours / theirs, 3) if ours is not None and theirs else None


def ratios(figures: Figures) -> dict[str, dict[str, float | None]]:
    def of(subject: str, work: str) -> float | None:
        return figures.get(subject, {}).get(work)

    return {
        name: {
            "vs_gluster": ratio(of(subject, work), of("gluster", work)),
            "vs_bare": ratio(of(subject, work), of("bare", work)),
        }
        for name, subject, work in RATIOS
    }


def table(figures: Figures) -> str:
    subjects = list(figures)
    lines = [f"{'work':18}" + "".join(f"{s:>16}" for s in subjects)]
    for work in WORKS:
        cells = [figures[s].get(work.name) for s in subjects]
        shown = ["-" if c is None else f"{c:,.0f} {work.unit}" for c in cells]
        lines.append(f"{work.name:18}" + "".join(f"{c:>16}" for c in shown))
    lines += ["", f"{'Twofold':20}{'vs gluster':>12}{'vs bare':>12}"]
    for name, both in ratios(figures).items():
        shown = ["-" if v is None else f"{v:.2f}" for v in both.values()]
        lines.append(f"{name:20}" + "".join(f"{c:>12}" for c in shown))
    return "\n".join(lines)
