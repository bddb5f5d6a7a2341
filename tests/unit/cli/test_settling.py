"""After a join: it goes on when all answer, and names whoever does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Daemon
from twofold.cli import settling

Run = Callable[..., tuple[int, str, str]]


def test_it_goes_on_when_all_answer(daemon: Daemon) -> None:
    assert settling.silent_nodes({"a", "b"}) == set()


def test_a_silent_node_is_named_in_bounded_time(daemon: Daemon) -> None:
    daemon.silent.add("b")
    assert settling.silent_nodes({"a", "b"}, timeout_s=0.3) == {"b"}


def test_no_daemon_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_RUN", str(tmp_path))
    assert settling.silent_nodes({"a"}) is None
