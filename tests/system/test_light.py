"""Light modules on real daemons: each node runs its own; start, check, restart, survive, stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.system.conftest import Pair
from tests.system.test_failover import is_new_daemon

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(120)]

LIGHT = """
[module]
kind = "light"
description = "each node runs its own"
max_loops = 2
[[address]]
ip = "10.77.0.150/24"
[[service]]
name = "sleeper"
command = ["/bin/sleep", "100000"]
[[checker]]
name = "door"
kind = "tcp"
address = "127.0.0.1:7791"
interval = "200ms"
action = "wait"
"""
DOOR_PID = "/var/tmp/light/door.pid"
DOOR = f"""
import os, pathlib, socket
pathlib.Path("{DOOR_PID}").write_text(str(os.getpid()))
door = socket.create_server(("127.0.0.1", 7791))
while True:
    door.accept()[0].close()
"""


def pid_of(pair: Pair, node: str) -> int | None:
    state = pair.cluster.state(node, "light") or {}
    return state["services"][0]["pid"] if state.get("services") else None


def wait(pair: Pair, what: str, holds: Callable[[], bool]) -> None:
    pair.cluster.wait(what, holds, 20, lambda: str(pair.cluster.state("a", "light")))


def shown(pair: Pair, node: str = "a") -> str:
    return pair.cluster.shown(node, "light")


def test_a_light_module_lives_on_one_node(pair: Pair) -> None:
    place = "/var/tmp/light"
    pair.lab.exec("a", ["mkdir", "-p", place])
    pair.lab.exec("a", ["sh", "-c", f"cat > {place}/module.toml"], stdin=LIGHT)
    pair.twofold("a", "module", "add", "light", "--from", place)
    pair.twofold("a", "start", "light", "--no-wait")
    wait(pair, "it waits for its door", lambda: shown(pair) == "WAIT NotReady")
    assert "Waiting until checker door is well" in pair.twofold("a", "state", "light")[1]
    door = pair.lab.popen("a", ["python", "-c", DOOR])
    try:
        wait(pair, "it runs", lambda: shown(pair) == "UP Ready")
        assert pair.twofold("a", "state", "light", "-q", check=False)[0] == 2
        assert shown(pair, "b") == "STOP NotReady"
        first = pid_of(pair, "a")
        assert first is not None

        pair.signal("a", first)
        wait(pair, "a new one runs", lambda: pid_of(pair, "a") not in (None, first))
        wait(pair, "it runs", lambda: shown(pair) == "UP Ready")
        assert "restarted here" in pair.twofold("a", "why", "light")[1]

        second = pid_of(pair, "a")
        daemon = int(pair.lab.inside("a", "/run/twofold/twofoldd.pid").read_text())
        pair.signal("a", daemon)
        pair.cluster.wait("a new daemon answers", lambda: is_new_daemon(pair, "a", daemon), 20)
        wait(pair, "it is found again", lambda: shown(pair) == "UP Ready")
        assert pid_of(pair, "a") == second
        assert "goes on" in pair.twofold("a", "why", "light")[1]
    finally:
        pair.signal("a", int(pair.lab.inside("a", DOOR_PID).read_text()))
        door.wait(10)
    wait(pair, "it stops without its door", lambda: shown(pair) == "WAIT NotReady")
    assert pid_of(pair, "a") is None
    said = pair.twofold("a", "prim", "light", check=False)
    assert said[0] != 0 and "light module" in said[1]
    pair.twofold("a", "stop", "light")
    wait(pair, "it is stopped", lambda: shown(pair) == "STOP NotReady")
    pair.twofold("a", "module", "remove", "light", "--yes", check=False)
    pair.calm()
    pair.nothing_lost()
