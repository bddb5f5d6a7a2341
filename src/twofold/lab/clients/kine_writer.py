"""Creates, updates and watches keys through the kines of both nodes, as Kubernetes does.

Each worker owns its keys, so it alone knows what they may hold: the last acknowledged value, or
that of a later attempt whose fate is unknown. It goes on at the other kine when one fails.
Reported:

    {"ack": seq, "key", "value", "revision"}   the write is acknowledged
    {"maybe": key, "value"}                    no answer came: it may or may not have happened
    {"back": {...}}                            a revision went back: the thing that must not be

A write's revision must be above every revision acknowledged before the write was sent; a watch must
see revisions grow, across reconnects and kines.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import threading

import grpc

from .etcd import Endpoint, KeyValue
from .reporting import report, stop_with_standard_input

CALL_TIMEOUT_S = 1.0
RETRY_AFTER_S = 0.05
UPDATES_FOR_EACH_CREATE = 2
PREFIX = b"/torture/"


class Highest:
    """The highest revision acknowledged to anybody so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revision = 0
        self._acknowledged = itertools.count(1)

    def now(self) -> int:
        with self._lock:
            return self._revision

    def acknowledge(self, key: str, value: str, revision: int, floor: int) -> None:
        with self._lock:
            if revision <= floor:
                report(back={"by": "write", "key": key, "revision": revision, "highest": floor})
            self._revision = max(self._revision, revision)
            report(ack=next(self._acknowledged), key=key, value=value, revision=revision)


class Worker:
    """One client: its own keys, its own connections, one write at a time."""

    def __init__(
        self,
        name: str,
        targets: list[str],
        seed: int,
        highest: Highest,
        stopped: threading.Event,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._name, self._call_timeout_s = name, call_timeout_s
        self._endpoints = [Endpoint(target) for target in targets]
        self._random = random.Random(f"{seed}/{name}")
        self._highest = highest
        self._stopped = stopped
        self._revisions: dict[bytes, int] = {}
        self._values = itertools.count(1)

    def run(self, pause_s: float) -> None:
        for created in itertools.count(1):
            self._write(PREFIX + f"{self._name}/{created:07}".encode(), 0)
            for _ in range(UPDATES_FOR_EACH_CREATE):
                if self._stopped.wait(pause_s):
                    return
                if self._revisions:
                    key = self._random.choice(list(self._revisions))
                    self._write(key, self._revisions[key])
            if self._stopped.wait(pause_s):
                return

    def _write(self, key: bytes, expected: int) -> None:
        """One write to its end: acknowledged, or known not to have happened as asked."""
        value = f"{self._name}-{next(self._values)}".encode()
        while not self._stopped.is_set():
            floor = self._highest.now()
            try:
                answer = self._endpoints[0].write(key, value, expected, self._call_timeout_s)
            except (grpc.RpcError, ValueError):
                report(maybe=key.decode(), value=value.decode())
                self._turn()
                seen = self._look(key)
                if seen is None:
                    return
                expected = seen
                continue
            if answer.applied:
                self._revisions[key] = answer.revision
                self._highest.acknowledge(key.decode(), value.decode(), answer.revision, floor)
                return
            # Somebody wrote the key: that can only be an earlier attempt of ours.
            found = answer.found.mod_revision if answer.found else self._look(key)
            if found is None or found == expected:
                return
            expected = found

    def _look(self, key: bytes) -> int | None:
        """The key's revision now (0: not there); None only when we are to stop."""
        while not self._stopped.is_set():
            try:
                _, kv = self._endpoints[0].read(key, self._call_timeout_s)
            except (grpc.RpcError, ValueError):
                self._turn()
                continue
            return kv.mod_revision if kv else 0
        return None

    def _turn(self) -> None:
        self._endpoints.append(self._endpoints.pop(0))
        self._stopped.wait(RETRY_AFTER_S)


class Watcher:
    """Follows every key through one kine after the other, from where it was."""

    def __init__(self, targets: list[str], stopped: threading.Event) -> None:
        self._targets = targets
        self._stopped = stopped
        self._seen = 0

    def run(self) -> None:
        for target in itertools.cycle(self._targets):
            if self._stopped.is_set():
                return
            endpoint = Endpoint(target)
            ended = threading.Event()
            with contextlib.suppress(grpc.RpcError, ValueError):
                self._follow(endpoint, ended)
            ended.set()
            endpoint.close()
            self._stopped.wait(RETRY_AFTER_S)

    def _follow(self, endpoint: Endpoint, ended: threading.Event) -> None:
        for batch in endpoint.watch(PREFIX, self._seen + 1, ended):
            if batch.cancelled is not None:
                self._seen = max(self._seen, batch.compact_revision)
                return
            for change in batch.changed:
                self._check(change, endpoint.target)
            if self._stopped.is_set():
                return

    def _check(self, change: KeyValue, target: str) -> None:
        if change.mod_revision <= self._seen:
            fact = {"by": "watch", "key": change.key.decode(), "at": target}
            report(back={**fact, "revision": change.mod_revision, "highest": self._seen})
        self._seen = max(self._seen, change.mod_revision)
        report(watched=change.mod_revision)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", action="append", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pause-ms", type=float, default=20.0)
    parser.add_argument("--call-timeout-s", type=float, default=CALL_TIMEOUT_S)
    asked = parser.parse_args()
    stopped = stop_with_standard_input()
    highest = Highest()
    threads: list[threading.Thread] = []
    for index in range(asked.workers):
        turned = asked.endpoint[index % 2 :] + asked.endpoint[: index % 2]
        worker = Worker(f"w{index}", turned, asked.seed, highest, stopped, asked.call_timeout_s)
        threads.append(
            threading.Thread(target=worker.run, args=(asked.pause_ms / 1000,), daemon=True)
        )
    for index in range(len(asked.endpoint)):
        turned = asked.endpoint[index:] + asked.endpoint[:index]
        threads.append(threading.Thread(target=Watcher(turned, stopped).run, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads[: asked.workers]:
        thread.join()


if __name__ == "__main__":
    main()
