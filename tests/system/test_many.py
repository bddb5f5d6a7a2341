"""Many mirror modules on one pair: started, swapped and failed over together, and what it costs.

Long. The table of docs/internals/many-modules.md comes from what is printed here:
`TWOFOLD_MANY=100 .venv/bin/pytest -s -m long tests/system/test_many.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from twofold.lab.cluster import Cluster
from twofold.lab.lab import NODES, Lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(1200),
]

COUNT = int(os.environ.get("TWOFOLD_MANY", "25"))
NAMES = [f"m{number:03}" for number in range(COUNT)]
WITHIN_S = 60.0 + 4 * COUNT
MODULE = """
[module]
description = "one of many"
[replication]
directories = ["/srv/{name}"]
port = {port}
[[address]]
ip = "10.77.0.{last}/24"
[[service]]
name = "sleeper"
command = ["/bin/sleep", "100000"]
"""
_MEASURE = """
import json, os, time
def ticks():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read().replace(chr(0), " ")
            stat = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        kind = "daemon" if "twofoldd" in words or "twofold.daemon" in words else (
            "engines" if "mirror_process" in words else "")
        if kind and pid != str(os.getpid()):
            found[pid] = (kind, int(stat[11]) + int(stat[12]))
    return found
before = ticks(); time.sleep(10); after = ticks()
out = {}
for pid, (kind, used) in after.items():
    each = out.setdefault(kind, {"processes": 0, "pss_mib": 0.0, "cpu_percent": 0.0})
    each["processes"] += 1
    each["cpu_percent"] += (used - before.get(pid, (kind, used))[1]) / 10
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            each["pss_mib"] += int(line.split()[1]) / 1024
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    disks = tmp_path_factory.mktemp("disks")
    lab = Lab.make(f"many{os.getpid()}", size_bytes=1 << 30, directory=disks)
    try:
        made = Cluster(lab)
        made.form()
        for node in NODES:
            for number, name in enumerate(NAMES):
                lab.inside(node, f"/srv/{name}").mkdir()
                folder = lab.inside(node, f"/etc/twofold/modules/{name}")
                folder.mkdir(parents=True)
                text = MODULE.format(name=name, port=9200 + number, last=100 + number)
                (folder / "module.toml").write_text(text)
            assert made.ask(node, "reload") is not None
        yield made
    finally:
        if os.environ.get("TWOFOLD_TEST_KEEP") is None:
            lab.down()


def test_many_modules_start_move_and_survive_together(cluster: Cluster) -> None:
    for node, word in (("a", "prim"), ("b", "start")):
        for name in NAMES:
            assert cluster.ask(node, word, WITHIN_S, module=name) is not None
    say("start, until all have a ready second", all_roles(cluster, "a", "b"))
    for node in NODES:
        costs(cluster, node)
    for name in NAMES:
        assert cluster.ask("a", "swap", WITHIN_S, module=name) is not None
    say("swap of all, until all are whole again", all_roles(cluster, "b", "a"))
    cluster.lab.kill("b")
    cut_s = time.monotonic()
    first = until(lambda: serving(cluster, "a") > 0, "one is served again", cut_s)
    last = until(lambda: serving(cluster, "a") == COUNT, "all are served again", cut_s)
    say("power cut of the node that serves all, until the first serves", first)
    say("... until the last serves", last)
    cluster.lab.start("b")
    say("return of that node, until all are whole again", all_roles(cluster, "a", "b"))
    costs(cluster, "a")


def say(what: str, seconds: float) -> None:
    print(f"| {COUNT} | {what} | {seconds:.1f} s |", flush=True)


def costs(cluster: Cluster, node: str) -> None:
    found = json.loads(cluster.lab.exec(node, ["python", "-c", _MEASURE]).stdout)
    for kind, each in sorted(found.items()):
        figures = f"{each['pss_mib']:.0f} MiB, {each['cpu_percent']:.1f} % of a core"
        print(f"| {COUNT} | {node}: {each['processes']} {kind} at rest | {figures} |", flush=True)


def states(cluster: Cluster, node: str) -> dict[str, str]:
    answer = cluster.ask(node, "state") or {}
    return {m["module"]: f"{m['state']} {m['readiness']}" for m in answer.get("modules", [])}


def serving(cluster: Cluster, node: str) -> int:
    good = ("PRIM Ready", "ALONE Ready")
    return sum(state in good for state in states(cluster, node).values())


def all_roles(cluster: Cluster, primary: str, second: str) -> float:
    def reached() -> bool:
        here, there = states(cluster, primary), states(cluster, second)
        whole = [here.get(n) == "PRIM Ready" and there.get(n) == "SECOND Ready" for n in NAMES]
        return all(whole)

    return until(reached, f"{primary} serves all and {second} has everything", time.monotonic())


def until(holds: Callable[[], bool], what: str, since_s: float) -> float:
    while not holds():
        assert time.monotonic() - since_s < WITHIN_S, f"not within {WITHIN_S:g} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - since_s
