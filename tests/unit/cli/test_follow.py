"""Following an action to its end, where the daemon is late with its answers."""

from __future__ import annotations

import time
from typing import Any, ClassVar, cast

import pytest

from twofold.cli import follow
from twofold.cli.follow import Follower, serving
from twofold.cli.output import NotReached
from twofold.client import Client
from twofold.errors import NodeUnreachable

SERVES = {
    "node": "a",
    "modules": [{"state": "PRIM", "readiness": "Ready", "next": "Nothing to do"}],
}


class Late:
    """A daemon that does not answer in time so many times, then does."""

    def __init__(self, times: int) -> None:
        self.times = times

    def ask_nodes(self, nodes: list[str], command: str, **_fields: Any) -> list[dict[str, Any]]:
        if command == "log":
            return [{"node": nodes[0], "entries": []}]
        self.times -= 1
        if self.times >= 0:
            raise NodeUnreachable("twofoldd did not answer 'state' within 3.5 s")
        return [SERVES]


def following(daemon: Late) -> Follower:
    return Follower(cast(Client, daemon), "shop", {"a": serving}, quiet=True).begin()


def test_a_daemon_that_is_late_for_a_moment_does_not_end_what_a_person_follows() -> None:
    following(Late(3)).run(10.0)


def test_one_that_stays_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "SILENT_MAX_S", 0.0)
    with pytest.raises(NodeUnreachable):
        following(Late(10**9)).run(10.0)


class Journal(Late):
    """A node that cannot be reached as the command begins, with a journal from before."""

    def __init__(self) -> None:
        super().__init__(0)
        old = {"id": 7, "at": time.time() - 60.0, "module": "shop", "sentence": "long ago"}
        new = {"id": 8, "at": time.time(), "module": "shop", "sentence": "a serves"}
        self.answers: list[dict[str, Any]] = [{"error": {}}, {"entries": [old, new]}]

    def ask_nodes(self, nodes: list[str], command: str, **_fields: Any) -> list[dict[str, Any]]:
        if command != "log":
            return super().ask_nodes(nodes, command)
        answer: dict[str, Any] = self.answers.pop(0) if self.answers else {"entries": []}
        return [{"node": nodes[0], **answer}]


def test_what_a_node_wrote_before_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    Follower(cast(Client, Journal()), "shop", {"a": serving}).begin().run(10.0)
    said = capsys.readouterr().out
    assert "a serves" in said and "long ago" not in said


class LatePeer(Late):
    """The other node is late: this one says so in its place, as often as that lasts."""

    silence: ClassVar[dict[str, Any]] = {
        "node": "a",
        "error": {"code": NodeUnreachable.code, "text": "node a did not answer within 1.5 s"},
    }

    def ask_nodes(self, nodes: list[str], command: str, **_fields: Any) -> list[dict[str, Any]]:
        try:
            return super().ask_nodes(nodes, command)
        except NodeUnreachable:
            return [self.silence]


def test_a_node_that_is_late_while_it_takes_over_does_not_end_what_a_person_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a guest: who got the service was busy starting it, and the swap was called failed."""
    monkeypatch.setattr(follow, "GRACE_S", 0.3)
    following(LatePeer(5)).run(10.0)


def test_a_node_that_stays_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "GRACE_S", 0.1)
    monkeypatch.setattr(follow, "SILENT_MAX_S", 0.3)
    with pytest.raises(NotReached, match="did not answer"):
        following(LatePeer(10**9)).run(10.0)
