"""One reading of all processes serves whoever asks at the same time, and is never too old."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count

import pytest

from twofold.adapters.services import census
from twofold.adapters.services.census import COOKIE, Census, Process

NOBODY: dict[int, Process] = {}


@contextmanager
def sleeper(cookie: str) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "100"], env={**os.environ, COOKIE: cookie})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_who_asks_after_a_process_began_sees_it_and_after_its_end_does_not() -> None:
    asked = Census()
    asked.taken_since(time.monotonic())
    with sleeper("its cookie") as process:
        seen = asked.taken_since(time.monotonic())[process.pid]
        assert seen.cookie == "its cookie"
        stat = census.read_stat(process.pid)
        assert stat is not None and stat.start_ticks == seen.stat.start_ticks
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # A zombie, as nobody has waited for it.
        assert process.pid not in asked.taken_since(time.monotonic())


def test_a_reading_from_before_the_question_is_no_answer() -> None:
    asked = Census()
    with sleeper("late"):
        before_s = time.monotonic()
        first = asked.taken_since(before_s)
        assert asked.taken_since(before_s) is first
        assert asked.taken_since(time.monotonic()) is not first


def test_who_asks_while_another_reads_shares_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    readings = count(1)
    made: list[int] = []

    def read_all() -> dict[int, Process]:
        made.append(next(readings))
        begun.set()
        assert go_on.wait(10)
        return dict(NOBODY)

    monkeypatch.setattr(census, "_read_all", read_all)
    asked = Census()
    answers: list[dict[int, Process]] = []

    def ask() -> None:
        answers.append(asked.taken_since(time.monotonic()))

    first = threading.Thread(target=ask)
    first.start()
    assert begun.wait(10)
    # All of them ask before the first reading has ended.
    before_s = time.monotonic()
    others = [
        threading.Thread(target=lambda: answers.append(asked.taken_since(before_s)))
        for _ in range(20)
    ]
    for thread in others:
        thread.start()
    go_on.set()
    for thread in (first, *others):
        thread.join(10)
    assert len(answers) == 21
    assert len(made) == 2
