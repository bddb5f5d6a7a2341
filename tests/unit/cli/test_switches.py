"""`checker`, `failover`, `boot` and `resources`: what is asked of the daemon, and what is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.cli.conftest import Daemon, module_object

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (("checker", "off", "files", "web"), {"what": "checker", "on": False, "name": "web"}),
        (("checker", "off", "files"), {"what": "checker", "on": False, "name": "*"}),
        (("checker", "on", "files", "web"), {"what": "checker", "on": True, "name": "web"}),
        (("failover", "off", "files"), {"what": "failover", "on": False, "name": "*"}),
        (("failover", "on", "files"), {"what": "failover", "on": True, "name": "*"}),
        (("boot", "off", "files"), {"what": "boot", "on": False, "name": "*"}),
        (("boot", "on", "files"), {"what": "boot", "on": True, "name": "*"}),
    ],
)
def test_a_switch_is_asked_of_every_node(
    daemon: Daemon, twofold: Run, words: tuple[str, ...], fields: dict[str, Any]
) -> None:
    code, out, _ = twofold(*words)
    assert code == 0 and out == "a: a: switch begins\nb: b: switch begins\n"
    assert [(node, command) for node, command, _ in daemon.asked] == [
        ("a", "switch"),
        ("b", "switch"),
    ]
    for _, _, body in daemon.asked:
        assert {k: body[k] for k in fields} == fields and body["module"] == "files"


def test_on_one_node(daemon: Daemon, twofold: Run) -> None:
    assert twofold("failover", "off", "files", "-H", "b")[0] == 0
    assert [node for node, _, _ in daemon.asked] == ["b"]


def test_a_node_that_was_not_reached_is_told(daemon: Daemon, twofold: Run) -> None:
    daemon.silent.add("b")
    code, out, err = twofold("failover", "off", "files")
    assert code == 11 and "a: switch begins" in out and "ode b did not answer" in err


def checker(**more: Any) -> dict[str, Any]:
    return {
        "name": "web", "ok": True, "text": "connected", "on": True, "unsteady": False,
        "side": "primary", "kind": "tcp", "action": "restart", "interval_s": 2.0,
        "failures_to_count": 2, "failures": 0, "history": [], **more,
    }  # fmt: skip


def module(*checkers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "module": "files", "node": "a", "state": "PRIM",
        "services": [{"name": "app", "running": True, "pid": 9, "detail": "process 9 runs"}],
        "addresses": [{"ip": "10.0.0.9/24", "held": True, "interface": "lan"}],
        "checkers": list(checkers), "switched": {}, "failover": True, "boot": True, **more,
    }  # fmt: skip


def test_resources(daemon: Daemon, twofold: Run) -> None:
    past = [{"at": time.time() - 60, "ok": False, "text": "[no] answer"}]
    shown = module(
        checker(history=past), checker(name="db", on=False), checker(name="x", ok=None, text=""),
        failover=False,
    )  # fmt: skip
    daemon.answers["resources"] = {"modules": [shown]}
    code, out, _ = twofold("resources", "files")
    assert code == 0
    for words in (
        "files on a: PRIM", "process 9 runs", "on lan", "connected", "then restart",
        "ago failed: [no] answer", "switched off", "not asked here now", "failover is off",
    ):  # fmt: skip
        assert words in out, out


def test_checker_list(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["resources"] = {"modules": [module(checker(ok=False, failures=3))]}
    code, out, _ = twofold("checker", "list", "files")
    assert code == 0 and "connected (3 failures)" in out and "process 9" not in out
    code, out, _ = twofold("checker", "list", "files", "--json")
    assert code == 0 and json.loads(out)["checkers"][0]["failures"] == 3


def test_state_shows_what_is_switched_off(daemon: Daemon, twofold: Run) -> None:
    switched = {"checkers_off": ["web"], "failover": False, "boot": None}
    daemon.states["a"] = module_object("a", "PRIM", switched=switched)
    _, out, _ = twofold("state")
    assert "! checker web is switched off" in out and "! failover is switched off" in out
    assert "machine" not in out
