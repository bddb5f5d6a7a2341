"""A module that fails on command, for the lines of the failure catalogue that need it.

`trouble(pair, node, what)` breaks one thing on one node until `mended`: a checker with the action
of that name (`restart`, `failover`, `stop`, `wait`, `none`), a start of the application
(`failing-start`, `slow-start`) or a stop (`failing-stop`, `hanging-stop`). The marks lie on the
node's disk, so they outlive a boot. A resync is held at 4 MiB/s, so that a test meets it half way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.system.conftest import READY_WITHIN_S, Pair
from twofold.lab.cluster import Cluster, other
from twofold.lab.lab import NODES, Lab
from twofold.lab.workloads import SqliteWorkload

CHECKERS = ("restart", "failover", "stop", "wait", "none")
MARKS = "/var/tmp/trouble"
STOP_TIMEOUT_S = 3.0
RESYNC_BYTES_PER_S = 4 << 20
TIMEOUT_S = 3.0  # heartbeat.timeout, as the product has it by default

LONG_IN_LAB = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(240),
]

_HOOK = f"""#!/bin/sh
has() {{ test -e {MARKS}/$1; }}
case $1 in
start)
    has slow-start && touch {MARKS}/begun && sleep 3
    has failing-start && echo "told not to start" && exit 1 ;;
stop)
    has hanging-stop && sleep 1000
    has failing-stop && echo "told not to stop" && exit 1 ;;
esac
exit 0
"""
_PROBE = f"""#!/bin/sh
test -e {MARKS}/$1 || exit 0
echo "told to fail"
exit 1
"""
_SERVICE = f"""
[[service]]
name = "hook"
script = "hook"
start_timeout = "10s"
stop_timeout = "{STOP_TIMEOUT_S:.0f}s"

[[checker]]
name = "mounted"
kind = "mount"
interval = "1s"
timeout = "2s"
action = "failover"
"""
_CHECKER = """
[[checker]]
name = "c-{action}"
kind = "script"
script = "probe"
arguments = ["{action}"]
interval = "500ms"
timeout = "2s"
action = "{action}"
"""


def install(cluster: Cluster) -> SqliteWorkload:
    """The demo application with its troubles, on both nodes; nothing started yet."""
    workload = SqliteWorkload()
    workload.install(cluster)
    home = f"/etc/twofold/modules/{workload.module}"
    lab = cluster.lab
    for name, text in (("hook", _HOOK), ("probe", _PROBE)):
        script = f"{home}/scripts/{name}"
        lab.exec("a", ["sh", "-c", f"cat > {script} && chmod 755 {script}"], stdin=text)
    more = _SERVICE + "".join(_CHECKER.format(action=action) for action in CHECKERS)
    lab.exec("a", ["sh", "-c", f"cat >> {home}/module.toml"], stdin=more)
    limit = f's/^\\[replication\\]/[replication]\\nresync_limit = "{RESYNC_BYTES_PER_S >> 20}MiB"/'
    lab.exec("a", ["sed", "-i", limit, f"{home}/module.toml"])
    cluster.twofold("a", "module", "apply", workload.module)
    for node in NODES:
        lab.exec(node, ["mkdir", "-p", MARKS])
    return workload


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Lab, Cluster]]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    disks = tmp_path_factory.mktemp("disks")
    lab = Lab.make(f"tro{os.getpid()}", size_bytes=512 << 20, directory=disks)
    try:
        cluster = Cluster(lab)
        cluster.form()
        workload = install(cluster)
        cluster.twofold("a", "prim", workload.module)
        cluster.twofold("b", "start", workload.module)
        cluster.wait_both_ready(workload.module, READY_WITHIN_S)
        yield lab, cluster
    finally:
        if os.environ.get("TWOFOLD_TEST_KEEP") is None:
            lab.down()


def trouble(pair: Pair, node: str, what: str) -> None:
    pair.lab.exec(node, ["sh", "-c", f"touch {MARKS}/{what} && sync {MARKS}"])


def has_begun(pair: Pair, node: str) -> bool:
    """A `slow-start` is under way: what comes before it has been started, and is ready."""
    return pair.lab.exec(node, ["test", "-e", f"{MARKS}/begun"], check=False).returncode == 0


def mended(pair: Pair, *nodes: str) -> None:
    """Nothing fails on command any more."""
    for node in nodes or NODES:
        pair.lab.exec(node, ["sh", "-c", f"rm -f {MARKS}/* && sync {MARKS}"])


def why(pair: Pair, node: str) -> str:
    return pair.twofold(node, "why", pair.module, check=False)[1]


def is_told(pair: Pair, node: str, words: str, bound_s: float = 20.0) -> None:
    """`twofold why` on the node has these words, soon. Asked rarely: each time is a program."""
    until_s = time.monotonic() + bound_s
    while words not in (said := why(pair, node)):
        assert time.monotonic() < until_s, f"{words!r} is not in:\n{said}"
        time.sleep(0.5)


class Beside:
    """A command of a person that runs while the test goes on."""

    def __init__(self, pair: Pair, node: str, *words: str) -> None:
        program = str(Path(sys.executable).parent / "twofold")
        self._process = subprocess.Popen(
            pair.lab.argv_in(node, [program, *words]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=pair.lab.environment(node),
        )

    def end(self) -> str:
        """What it said, whether it came to an end that it liked or not."""
        said, _ = self._process.communicate(timeout=100)
        assert "failed to execute" not in said and "Traceback" not in said, said
        return said


def started_afresh(pair: Pair) -> None:
    """Stopped and started by a person: what was counted towards `max_loops` is forgotten."""
    pair.twofold("a", "stop", pair.module, "-H", "*")
    pair.twofold("a", "start", pair.module, "-H", "*")
    pair.whole()


def in_state(pair: Pair, node: str, state: str, bound_s: float = 20.0) -> None:
    pair.cluster.wait(
        f"{node} is {state}",
        lambda: pair.shown(node).startswith(state),
        bound_s,
        lambda: f"a {pair.shown('a')}, b {pair.shown('b')}",
    )


def never_serves(pair: Pair, node: str, seconds: float) -> None:
    """For so long it does not; looked at ten times a second."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        assert not pair.serves(node), why(pair, node)
        time.sleep(0.1)


def daemon_pid(pair: Pair, node: str) -> int:
    return int(pair.lab.inside(node, "/run/twofold/twofoldd.pid").read_text())


def has_taken_over(pair: Pair, old: str, event_s: float) -> float:
    """Seconds that the client waited until the node beside `old` served it."""
    return pair.outage_s(event_s, lambda: pair.serves(other(old)))


def ends_well(pair: Pair, node: str) -> None:
    """The pair is whole again, this node serves, and nothing acknowledged is lost."""
    pair.whole()
    assert pair.primary() == node, why(pair, node)
    pair.nothing_lost()


@contextlib.contextmanager
def suspended(pair: Pair, node: str) -> Generator[None]:
    """Every process of the node is stopped, as on a machine that is suspended; then it goes on."""
    send = "import os, sys; os.kill(-1, int(sys.argv[1]))"
    pair.lab.exec(node, ["python", "-c", send, str(int(signal.SIGSTOP))])
    try:
        yield
    finally:
        pair.lab.exec(node, ["python", "-c", send, str(int(signal.SIGCONT))])


def amid_a_resync(pair: Pair, seconds: int) -> tuple[str, str]:
    """(who serves alone, who is being copied to for about so many seconds more)."""
    node = pair.primary()
    second = other(node)
    pair.lab.kill(second)
    in_state(pair, node, "ALONE")
    mib = seconds * RESYNC_BYTES_PER_S >> 20
    words = f"dd if=/dev/urandom of={pair.workload.directory}/much bs=1M count={mib} conv=fsync"
    pair.lab.exec(node, ["sh", "-c", f"{words} status=none"])
    pair.lab.start(second)
    in_state(pair, second, "SECOND Transient")
    time.sleep(1)
    assert pair.shown(second) == "SECOND Transient", "the resync is over already"
    return node, second
