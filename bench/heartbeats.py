"""`python -m bench.heartbeats`: do heartbeats notice people and programs at the console?

In a lab, node b's network card is listened to while a's console has nothing to do, has 50 clients,
and is flooded through its API. The figure is the time between two heartbeats of a as they arrive
(the kernel's own clock): its quantiles, and the longest. Beside it what the load was, and the
load of the machine, since two nodes and all clients share its processors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twofold.lab.cluster import Cluster
from twofold.lab.lab import Lab
from twofold.lab.network import ports_of
from twofold.lab.workloads import SqliteWorkload

ROOT = Path(__file__).resolve().parents[1]
SIZE_BYTES = 512 << 20
URL = f"https://{ports_of('a')[0].ipv4}:9010"
LOADS = ("nothing", "clients", "flood")
# What listens on b: IPv4, UDP from a to port 9012, on the network `lan`; SO_TIMESTAMPNS is 35.
LISTENER = """
import socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
s.bind(("lan", 0x0800)); s.setsockopt(socket.SOL_SOCKET, 35, 1); s.settimeout(0.2)
ends, source = time.monotonic() + float(sys.argv[1]), socket.inet_aton(sys.argv[2])
while time.monotonic() < ends:
    try:
        data, extra, _, _ = s.recvmsg(2048, 64)
    except TimeoutError:
        continue
    if data[12:16] == source and data[9] == 17 and data[22:24] == struct.pack("!H", 9012):
        sec, ns = struct.unpack("qq", extra[0][2])
        print(sec + ns / 1e9)
"""


def gaps_ms(lab: Lab, seconds: float) -> list[float]:
    address = ports_of("a")[0].ipv4
    argv = [sys.executable, "-c", LISTENER, str(seconds), address]
    heard = [float(x) for x in lab.exec("b", argv, timeout_s=seconds + 30).stdout.split()]
    assert len(heard) > 10, "no heartbeat was heard"
    return [(b - a) * 1000 for a, b in itertools.pairwise(heard)]


def quantiles(gaps: list[float]) -> dict[str, float]:
    ordered = sorted(gaps)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: ordered[int(q * (len(ordered) - 1))] for name, q in at.items()}
    return {k: round(v, 1) for k, v in {**found, "max": ordered[-1]}.items()}


def one(lab: Lab, load: str, seconds: float, count: int, password: str) -> dict[str, Any]:
    busy: subprocess.Popen[str] | None = None
    said: dict[str, Any] = {}
    if load != "nothing":
        argv = [
            sys.executable,
            "-m",
            "bench.console_load",
            load,
            URL,
            str(seconds + 14),
            str(count),
        ]
        shell = ["sh", "-c", f'cd {ROOT} && exec "$@"', "load", *argv]
        busy = lab.popen("client", shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert busy.stdin is not None
        busy.stdin.write(f"{password}\n")
        busy.stdin.flush()
        time.sleep(10)  # until all are there
    try:
        gaps = gaps_ms(lab, seconds)
        if busy is not None:
            said = json.loads(busy.communicate(timeout=60)[0])
    finally:
        if busy is not None and busy.poll() is None:
            busy.kill()
            busy.wait()
    loaded = [round(x, 2) for x in os.getloadavg()[:1]]
    return {"load": load, "gap_ms": quantiles(gaps), "heartbeats": len(gaps) + 1,
            "answered": said, "machine_load": loaded[0]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.heartbeats", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each load")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--programs", type=int, default=32, help="in the flood")
    chosen = parser.parse_args()
    lab = Lab.make(f"heartbeats{os.getpid()}", size_bytes=SIZE_BYTES, share=(ROOT,))
    try:
        cluster = Cluster(lab)
        cluster.form()
        workload = SqliteWorkload()
        workload.install(cluster)
        cluster.twofold("a", "start", workload.module, "--prim", "a")
        cluster.wait_both_ready(workload.module)
        before = cluster.state("a", workload.module) or {}
        print(json.dumps({"machine_load_before": os.getloadavg(), "processors": os.cpu_count()}))
        for load in LOADS:
            count = chosen.clients if load == "clients" else chosen.programs
            print(json.dumps(one(lab, load, chosen.seconds, count, str(cluster.password))))
        after = cluster.state("a", workload.module) or {}
        same = [before.get(k) == after.get(k) for k in ("state", "epoch", "failovers")]
        print(json.dumps({"nothing_moved": all(same) and cluster.both_ready(workload.module)}))
    finally:
        lab.down()


if __name__ == "__main__":
    main()
