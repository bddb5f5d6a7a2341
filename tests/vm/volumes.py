"""Who uses datastore and volumes, and what they have seen.

Both guests mount the volumes over the virtual address, as kubelets do, the serving one too. On
each a program appends synced lines and another does so while it holds a lock; they die with their
machine and are started again when it is back. etcd clients write from the client host, through the
kines of both nodes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

from twofold.lab.ledger import Ledger
from twofold.lab.workloads import judge_keys

from .guest import ADDRESSES, PATIENCE, GuestFailed, wait_until
from .pair import Pair

MODULE = "k3s"
VIRTUAL_VOLUMES = "10.77.0.101"
DIRECTORY = "/srv/k3s"
EXPORT = "/srv/k3s-volumes"
MOUNT = "/mnt/volumes"
IMAGE_SIZE = "100G"
MOUNT_OPTIONS = "nfsvers=4.1,hard,timeo=50,retrans=2,noatime"
KINE_PORT = 2379
CALL_TIMEOUT_S = 5.0  # of one write, on emulated processors
_PROGRAM = "/usr/bin/python3 /payload/nfs_writer.py"


def mount(pair: Pair, node: str) -> None:
    source = f"{VIRTUAL_VOLUMES}:{EXPORT}"
    made = f"mkdir -p {MOUNT} && mount -t nfs -o {MOUNT_OPTIONS} {source} {MOUNT}"
    pair[node].run(made, timeout_s=180)


class VolumeWriter:
    """One program in one guest, and what it has reported; it may die with its guest."""

    def __init__(self, pair: Pair, node: str, name: str, first: int, with_lock: bool) -> None:
        self.node, self.path = node, f"{MOUNT}/{name}"
        self.ledger = Ledger()
        self.errors: list[str] = []
        self.locked = threading.Event()
        words = f"{_PROGRAM} {self.path} {first} {'--lock' if with_lock else ''}"
        self._process = pair[node].popen(words)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._lock = threading.Lock()
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                fact: dict[str, Any] = json.loads(line)
            except ValueError:
                continue  # the last line of a guest that was cut off
            with self._lock:
                if "error" in fact:
                    self.errors.append(fact["error"])
                elif "n" in fact:
                    self.ledger.acknowledged(fact["n"], time.monotonic())
            if fact.get("locked") == "mine":
                self.locked.set()

    @property
    def count(self) -> int:
        with self._lock:
            return self.ledger.count

    def wait_more(self, further: int, timeout_s: float = 300.0) -> None:
        wanted, deadline = self.count + further, time.monotonic() + timeout_s * PATIENCE
        while self.count < wanted:
            if time.monotonic() > deadline:
                raise GuestFailed(
                    f"{self.path} on {self.node}: no {further} lines in {timeout_s:.0f} s; "
                    f"errors so far: {self.errors[-5:]}"
                )
            time.sleep(0.05)

    def outage_ms(self, event_s: float) -> int | None:
        with self._lock:
            gap_s = self.ledger.outage_s(event_s, time.monotonic())
        return None if gap_s is None else round(gap_s * 1000)

    def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._reader.join(timeout=10)

    def lost(self, pair: Pair, reader: str) -> list[str]:
        """Acknowledged lines that are not in the file, read on any node."""
        text = pair[reader].run(f"cat {self.path}", timeout_s=180)
        found = {int(line): line for line in text.splitlines() if line.isdigit()}
        return [f"{self.path}: line {n}" for n in self.ledger.lost(found)]


def lock_of(pair: Pair, node: str, path: str) -> str:
    """Whether `node` could have the lock on `path`: "free" or "by another"."""
    text = pair[node].run(f"{_PROGRAM} {path} --try-lock", timeout_s=120)
    return str(json.loads(text.splitlines()[-1])["locked"])


class KineClients:
    """etcd clients on the client host that write through the kines of both guests."""

    def __init__(self, pair: Pair, seed: int = 1) -> None:
        self._pair = pair
        self._errors = (pair.folder / "kine.log").open("ab")
        for address in ADDRESSES.values():
            wait_until(
                f"{address} answers", lambda a=address: pair.network.reaches(a, KINE_PORT), 180
            )
        self.facts: list[dict[str, Any]] = []
        self.ledger = Ledger()
        program = [sys.executable, "-m", "twofold.lab.clients.kine_writer"]
        words = [*self._where(), "--seed", str(seed), "--workers", "2", "--pause-ms", "1000"]
        words += ["--call-timeout-s", str(CALL_TIMEOUT_S)]
        self._writer = pair.network.popen(
            [*program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _where(self) -> list[str]:
        return [w for ip in ADDRESSES.values() for w in ("--endpoint", f"{ip}:{KINE_PORT}")]

    def _read(self) -> None:
        assert self._writer.stdout is not None
        for line in self._writer.stdout:
            fact: dict[str, Any] = json.loads(line)
            self.facts.append(fact)
            if "ack" in fact:
                self.ledger.acknowledged(fact["ack"], fact["t"])

    @property
    def count(self) -> int:
        return self.ledger.count

    def wait_more(self, further: int, timeout_s: float = 300.0) -> None:
        wanted, deadline = self.count + further, time.monotonic() + timeout_s * PATIENCE
        while self.count < wanted:
            if time.monotonic() > deadline:
                raise GuestFailed(f"kine: no {further} writes acknowledged in {timeout_s:.0f} s")
            time.sleep(0.1)

    def outage_ms(self, event_s: float) -> int | None:
        gap_s = self.ledger.outage_s(event_s, time.monotonic())
        return None if gap_s is None else round(gap_s * 1000)

    def stop_writing(self) -> None:
        if self._writer.stdin is not None:
            self._writer.stdin.close()
        try:
            self._writer.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._writer.kill()
            self._writer.wait(timeout=10)
        self._reader.join(timeout=10)

    def lost(self) -> list[str]:
        read = [sys.executable, "-m", "twofold.lab.clients.kine_reader", *self._where()]
        text = self._pair.network.run(*read, timeout_s=120)
        lost: list[str] = []
        for line in text.splitlines():
            some, back = judge_keys(self.facts, json.loads(line))
            lost += some + [f"a revision went back: {fact}" for fact in back]
        return lost + [f"a revision went back: {f}" for f in self.facts if "back" in f]

    def close(self) -> None:
        self._writer.kill()
        self._writer.wait(timeout=10)
        self._errors.close()
