"""The report of the bench: the JSON that others read; what was not measured has no ratio."""

from __future__ import annotations

from bench import report
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
        "randwrite_4k_cached",
    }
    assert ratios["seqwrite_1m"] == {"vs_gluster": 5.0, "vs_bare": 0.25}
    assert ratios["randwrite_4k_cached"] == {"vs_gluster": 15.0, "vs_bare": 0.75}


def test_a_subject_that_was_not_measured_has_no_ratio() -> None:
    ratios = report.ratios(report.medians({"bare": SAMPLES["bare"]}))
    assert ratios["read_4k"] == {"vs_gluster": None, "vs_bare": None}
    assert "bare" in report.table(report.medians({"bare": SAMPLES["bare"]}))
