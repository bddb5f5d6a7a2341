"""`prim` on an old copy: the age is told, and a script is never asked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from tests.unit.cli.conftest import Daemon
from twofold.cli.session import Session
from twofold.cli.stale import consequence, last_current
from twofold.errors import CommandRefused, NeedsForce

Run = Callable[..., tuple[int, str, str]]
LEFT = {"at": 1000.0, "state": "SECOND", "then": "WAIT"}
DECISIONS = [{"at": 900.0, "state": "WAIT", "then": "SECOND"}, LEFT,
             {"at": 5000.0, "state": "STOP", "then": "WAIT"}]  # fmt: skip


def test_the_age_is_that_of_the_last_moment_with_a_current_copy() -> None:
    assert last_current(DECISIONS) == 1000.0
    assert last_current(DECISIONS[2:]) is None


def test_the_age_is_told_with_what_is_lost(daemon: Daemon) -> None:
    daemon.answers["why"] = {"decisions": DECISIONS}
    daemon.answers["cluster_state"] = {"node": "a"}
    told = consequence(Session(None, False), "files", 1000.0 + 3 * 3600)
    assert "a served or followed last at 1970-01-01" in told and "3 h 0 min ago" in told
    assert "not here" in told
    daemon.answers["why"] = {"decisions": []}
    assert "of any age" in consequence(Session(None, False), "files", 1.0)


def test_a_script_is_refused_and_not_asked(daemon: Daemon, twofold: Run) -> None:
    daemon.refusal = NeedsForce("prim refused: b has old data", "Think twice")
    code, _, said = twofold("prim", "files")
    assert code == 10 and "old data" in said
    said = twofold("prim", "files", "--json")[1]
    assert json.loads(said)["error"]["code"] == "needs_force"
    assert not [b for _, command, b in daemon.asked if command == "prim" and b.get("force")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("refusal", "asks"),
    [
        (NeedsForce("prim refused: b has old data", "Think twice"), True),
        (CommandRefused("prim refused: a serves", "No `twofold prim --yes` helps"), False),
    ],
)
def test_a_person_is_asked_where_the_answer_says_so_and_not_where_its_words_do(
    daemon: Daemon,
    twofold: Run,
    monkeypatch: pytest.MonkeyPatch,
    refusal: CommandRefused,
    asks: bool,
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    daemon.refusal = refusal
    code, out, said = twofold("prim", "files")
    assert ("Go on?" in out + said) == asks
    assert code == 10 and "refused" in said
    assert not [b for _, command, b in daemon.asked if command == "prim" and b.get("force")]
