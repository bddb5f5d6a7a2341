"""The machine goes down: what it serves is served by the peer first, within bounds."""

from __future__ import annotations

import time
from typing import Any

import pytest

from twofold.cli import poweroff

SERVES = {"state": "PRIM", "peer": {"node": "b", "state": "SECOND", "readiness": "Ready"}}
FOLLOWS = {"state": "SECOND", "peer": {"node": "b", "state": "PRIM", "readiness": "Ready"}}
STOPPED = {"state": "STOP", "peer": {"node": "b", "state": "PRIM", "readiness": "Transient"}}
SERVED = {"state": "STOP", "peer": {"node": "b", "state": "ALONE", "readiness": "Ready"}}
TAKEN_BY_NOBODY = {"state": "STOP", "peer": {"node": "b", "state": "SECOND", "readiness": "Ready"}}
GOING_DOWN_TOO = {"state": "STOP", "peer": {"node": "b", "state": "STOP", "readiness": "NotReady"}}
LEFT = {"state": "STOP", "peer": {"node": "b", "heard": False, "state": None}}


class Daemon:
    """It answers `state` with one after the other, and stays at the last."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states, self.asked = list(states), 0

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, command: str, **_fields: Any) -> dict[str, Any]:
        if command == "shutdown":
            return {}
        self.asked += 1
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"modules": [{"module": "shop", **state}]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poweroff, "WAIT_S", 0.3)
    monkeypatch.setattr(poweroff, "TAKEN_S", 0.1)
    monkeypatch.setattr(poweroff, "SERVED_S", 0.3)
    monkeypatch.setattr(poweroff, "LOOK_EVERY_S", 0.01)


def down(monkeypatch: pytest.MonkeyPatch, *states: dict[str, Any]) -> tuple[int, Daemon]:
    daemon = Daemon(*states)
    monkeypatch.setattr(poweroff, "Client", lambda: daemon)
    return poweroff.main(), daemon


def test_it_waits_until_the_peer_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    code, daemon = down(monkeypatch, SERVES, SERVES, STOPPED, STOPPED, STOPPED, SERVED)
    assert (code, daemon.states, daemon.asked) == (0, [SERVED], 6)


@pytest.mark.parametrize("first", [FOLLOWS, LEFT])
def test_what_is_not_served_here_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, first: dict[str, Any]
) -> None:
    code, daemon = down(monkeypatch, first, LEFT)
    assert (code, daemon.asked) == (0, 3)


@pytest.mark.parametrize(
    ("then", "waits_s"),
    [(STOPPED, 0.3), (TAKEN_BY_NOBODY, 0.1), (GOING_DOWN_TOO, 0.0), (LEFT, 0.0)],
)
def test_a_peer_that_does_not_serve_keeps_no_machine_up(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    then: dict[str, Any],
    waits_s: float,
) -> None:
    """Starting for ever; not to take over (failover is off); going down as well; lost."""
    begun_s = time.monotonic()
    code, daemon = down(monkeypatch, SERVES, then)
    assert code == 0
    assert time.monotonic() - begun_s >= waits_s
    assert (daemon.asked == 3) is (waits_s == 0.0), "one look is enough"
    assert "shop: stopped here, and b does not serve it" in capsys.readouterr().err


def test_what_does_not_stop_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = down(monkeypatch, SERVES)
    assert code == 1 and "not stopped within 0.3 s: shop" in capsys.readouterr().err
