"""Logs that a process writes itself: bounded, and quoted in sentences."""

from __future__ import annotations

import os
from pathlib import Path

from twofold.system import output


def test_only_what_is_new_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("old\n")
    since = output.size_bytes(log)
    with log.open("a") as more:
        more.write("\n".join(f"line {n}" for n in range(20)) + "\n\xff\n")
    lines = output.last_lines(log, since).splitlines()
    assert lines[-2] == "line 19" and len(lines) == 8
    assert output.last_lines(tmp_path / "absent") == ""


def test_a_log_that_grows_is_cut_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    writer = output.open_for_append(log)
    os.write(writer, b"x" * 1000)
    assert not output.rotate(log, 2000)
    assert output.rotate(log, 1000)
    os.write(writer, b"next")
    os.close(writer)
    assert log.read_bytes() == b"next"
    assert (tmp_path / "app.log.1").read_bytes() == b"x" * 1000
