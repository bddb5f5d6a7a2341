"""The report of the bench: the JSON that others read; what was not measured has no ratio."""

from __future__ import annotations

import json

from bench import page, report
from bench.__main__ import PAGE, RESULTS
from bench.works import WORKS

SAMPLES = {
    "bare": {w.name: [100.0, 300.0, 200.0] for w in WORKS},
    "gluster": {w.name: [10.0] for w in WORKS},
    "twofold_write": {w.name: [50.0, 40.0, 60.0] for w in WORKS},
    "twofold_fsync": {"randwrite_4k": [150.0]},
}


def test_ratios_carry_every_work_that_is_promised() -> None:
    ratios = report.ratios(report.medians(SAMPLES))
    assert set(ratios) == {
        "seqwrite_1m",
        "randwrite_4k",
        "randwrite_4k_j4",
        "write_fsync_4k",
        "read_1m",
        "read_4k",
        "read_4k_warm",
        "names",
        "mariadb",
        "randwrite_4k_cached",
    }
    assert ratios["seqwrite_1m"] == {"vs_gluster": 5.0, "vs_bare": 0.25}
    assert ratios["randwrite_4k_cached"] == {"vs_gluster": 15.0, "vs_bare": 0.75}


def test_a_subject_that_was_not_measured_has_no_ratio() -> None:
    ratios = report.ratios(report.medians({"bare": SAMPLES["bare"]}))
    assert ratios["read_4k"] == {"vs_gluster": None, "vs_bare": None}
    assert "bare" in report.table(report.medians({"bare": SAMPLES["bare"]}))


def test_the_page_tells_the_kept_run_and_what_misses_its_goal() -> None:
    kept = json.loads(RESULTS.read_text())
    assert PAGE.read_text() == page.text(kept), "run: .venv/bin/python -m bench --page"


def test_a_missed_goal_is_said_plainly() -> None:
    kept = json.loads(RESULTS.read_text())
    kept["ratios"]["seqwrite_1m"] = {"vs_gluster": 1.2, "vs_bare": 0.1}
    kept["ratios"]["read_4k"] = {"vs_gluster": 2.0, "vs_bare": 1.0}
    goals, _, _ = page.text(kept).partition("## Figures")
    rows = {line.split("`")[1]: line for line in goals.splitlines() if line.startswith("| `")}
    assert "**missed**" in rows["seqwrite_1m"]
    assert "met" in rows["read_4k"]
