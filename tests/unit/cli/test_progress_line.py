"""The line that tells a waiting person how far a resync is."""

from __future__ import annotations

import io
from typing import Any

from twofold.cli.progress_line import CLEAR, ProgressLine

SOURCE = {"as": "source", "bytes_done": 50, "bytes_total": 200, "files_done": 1, "seconds_left": 7}
TARGET = {"as": "target", "bytes_done": 3, "files_done": 0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def states(*resyncs: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{"node": "n", "resync": resync} for resync in resyncs]


def test_the_figures_are_those_of_the_node_that_sends() -> None:
    output = io.StringIO()
    ProgressLine("files", output).show(states(TARGET, SOURCE))
    assert output.getvalue() == "files: resync 25 % · 50 B of 200 B · 1 files · 7 s left\n"


def test_in_a_file_a_line_comes_now_and_then() -> None:
    output, now_s = io.StringIO(), [0.0]
    line = ProgressLine("files", output, lambda: now_s[0])
    for now_s[0] in range(25):
        line.show(states(SOURCE))
    assert output.getvalue().count("\n") == 3


def test_on_a_terminal_the_line_is_written_over_and_taken_away() -> None:
    output = Terminal()
    line = ProgressLine("files", output)
    line.show(states(SOURCE))
    line.show(states(None))
    line.clear()
    assert output.getvalue().startswith(CLEAR + "files: resync 25 %")
    assert output.getvalue().endswith(CLEAR)
    assert output.getvalue().count(CLEAR) == 2
