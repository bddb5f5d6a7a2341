"""A lab's record survives being written and read; a process in it can never be a stranger."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from twofold.errors import CommandRefused
from twofold.lab import record
from twofold.lab.record import HostRecord, LabRecord, ProcessId


def test_saved_and_loaded_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RUN_ROOT", tmp_path)
    init = ProcessId(7, 12345)
    hosts = {"a": HostRecord("a", "node", init=init, image="/x/a.img", cut=["flow"])}
    kept = LabRecord("t", "xfs", 1 << 30, "/x", ["/y"], hosts, {"a": {"kine": ["kine", "-v"]}})
    kept.run_directory.mkdir()
    kept.save()
    assert record.load("t") == kept
    assert record.names() == ["t"]
    assert record.load("other") is None


def test_a_process_that_ended_is_not_alive() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        process = ProcessId.of(child.pid)
        assert process is not None
        assert process.alive()
        assert not ProcessId(child.pid, process.start_ticks - 1).alive(), "same number, other start"
    finally:
        child.kill()
    # Not waited for yet: a zombie runs nothing any more.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive()
    child.wait()


@pytest.mark.parametrize("name", ["", "A", "../x", "a b", "1a", "x" * 17])
def test_names_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(CommandRefused, match="small letters"):
        record.load(name)
