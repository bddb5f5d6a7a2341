"""One pair in a lab for all tests of a file: forming it takes longer than a test.

Each test begins and ends with the pair whole (one PRIM, one SECOND, both Ready); a test that cannot
mend what it broke fails there, with the state of both nodes in the message.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from twofold.lab.cluster import Cluster
from twofold.lab.lab import Lab
from twofold.lab.verification import compare_copies
from twofold.lab.workloads import VIRTUAL_ADDRESS, SqliteWorkload
from twofold.lab.writers import Writer

SEED = 7
READY_WITHIN_S = 60.0
# Of every process of the node that serves data: name, thread, state, where it waits in the kernel.
_WAITS = """
for task in /proc/[0-9]*/task/*; do
    process=${task%/task/*}
    case $(tr '\\0' ' ' < $process/cmdline 2>/dev/null) in
    *mirror* | *app.py*)
        echo "$(cat $task/comm $task/wchan 2>/dev/null | tr '\\n' ' ')" \
            "$(sed -n 's/^State:.//p' $task/status 2>/dev/null)" "${task#/proc/}" ;;
    esac
done
ip -brief address show; ip neighbour
"""
_FIRST_NUMBERS = itertools.count(1, 1_000_000)


@dataclass
class Pair:
    """Two nodes that serve the demo application, and a client that writes to it."""

    lab: Lab
    cluster: Cluster
    workload: SqliteWorkload
    writer: Writer

    @property
    def module(self) -> str:
        return self.workload.module

    def primary(self) -> str:
        found = self.cluster.primary(self.module)
        assert found is not None, f"a: {self.shown('a')}, b: {self.shown('b')}"
        return found

    def shown(self, node: str) -> str:
        return self.cluster.shown(node, self.module)

    def whole(self) -> None:
        self.cluster.wait_both_ready(self.module, READY_WITHIN_S)

    def twofold(self, node: str, *words: str, check: bool = True) -> tuple[int, str]:
        done = self.cluster.twofold(node, *words, check=check)
        return done.returncode, done.stdout + done.stderr

    def application_pid(self, node: str) -> int:
        state = self.cluster.state(node, self.module)
        assert state is not None
        pid = state["services"][0]["pid"]
        assert isinstance(pid, int), state["services"]
        return pid

    def signal(self, node: str, pid: int, number: int = 9) -> None:
        text = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"
        self.lab.exec(node, ["python", "-c", text, str(pid), str(int(number))])

    def serves(self, node: str) -> bool:
        return self.shown(node) in ("PRIM Ready", "ALONE Ready")

    def restarted(self, node: str, old_pid: int) -> bool:
        state = self.cluster.state(node, self.module) or {}
        services: list[dict[str, Any]] = state.get("services", [])
        return self.serves(node) and services[0]["pid"] not in (None, old_pid)

    def outage_s(self, event_s: float, over: Callable[[], bool], bound_s: float = 30.0) -> float:
        """The client's longest pause from the event until it writes again after `over`."""
        self.cluster.wait(
            "the event is over", over, bound_s, lambda: f"a {self.shown('a')}, b {self.shown('b')}"
        )
        assert self.writer.wait_acknowledged_after(time.monotonic(), bound_s), self.hindered()
        outage_ms = self.writer.outage_ms(event_s)
        assert outage_ms is not None
        print(f"longest pause {outage_ms} ms")
        return outage_ms / 1000

    def calm(self) -> None:
        """The client writes without hindrance."""
        going_on = self.writer.wait_acknowledged_after(time.monotonic(), 10, further=20)
        assert going_on, self.hindered()

    def hindered(self) -> str:
        """Why the client does not write, as far as it knows, and where each thread of the engine
        and of the application waits."""
        waits = [
            f"{node} {self.shown(node)}\n{self.lab.exec(node, ['sh', '-c', _WAITS]).stdout}"
            for node in self.lab.nodes
        ]
        told = "\n".join([f"now {time.monotonic():.1f}", *self.writer.hindrances(), *waits])
        return f"The client's writes are not acknowledged:\n{told}"

    def nothing_lost(self) -> None:
        """Every acknowledged row is served, and both copies are equal; ends the client."""
        self.writer.stop()
        verdict = self.workload.check(self.lab, self.writer, SEED)
        assert list(verdict.lost) == []
        self.copies_equal()

    def copies_equal(self) -> None:
        self.writer.stop()
        self.whole()
        compared = compare_copies(self.cluster, self.module)
        assert [str(each) for each in compared.differences] == []
        assert compared.entries > 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Lab, Cluster]]:
    yield from formed(tmp_path_factory)


def formed(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Lab, Cluster]]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    disks = tmp_path_factory.mktemp("disks")
    lab = Lab.make(f"sys{os.getpid()}", size_bytes=512 << 20, directory=disks)
    try:
        cluster = Cluster(lab)
        cluster.form()
        workload = SqliteWorkload()
        workload.install(cluster)
        cluster.twofold("a", "prim", workload.module)
        cluster.twofold("b", "start", workload.module)
        cluster.wait_both_ready(workload.module, READY_WITHIN_S)
        yield lab, cluster
    finally:
        if os.environ.get("TWOFOLD_TEST_KEEP") is None:
            lab.down()


@pytest.fixture
def pair(site: tuple[Lab, Cluster]) -> Generator[Pair]:
    lab, cluster = site
    workload = SqliteWorkload()
    # Each test has numbers of its own: a row that is there already would prove nothing.
    first = str(next(_FIRST_NUMBERS))
    words = ["--address", VIRTUAL_ADDRESS, "--port", str(workload.port), "--seed", str(SEED)]
    writer = Writer(lab, "sqlite_writer", [*words, "--first", first], lambda fact: fact.get("n"))
    made = Pair(lab, cluster, workload, writer)
    try:
        made.whole()
        made.calm()
        yield made
    finally:
        writer.stop()
