"""The applications that are demonstrated and tortured: how to install, write to and check each.

A workload ends with a verdict: which acknowledged writes are not there, and how often a revision
went back. Both are read through the service itself, as a client would.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twofold.errors import MachineError

from . import mariadb, requirements
from .clients.sqlite_writer import text_of
from .cluster import Cluster
from .lab import NODES, Lab
from .writers import Fact, Writer

VIRTUAL_ADDRESS = "10.77.0.100"


@dataclass(frozen=True)
class Verdict:
    lost: Sequence[str]
    revisions_back: Sequence[Fact]


class Workload(Protocol):
    module: str
    directory: str

    def install(self, cluster: Cluster) -> None:
        """Data and module on both nodes; nothing started yet."""
        ...

    def begin(self, cluster: Cluster) -> None:
        """What runs beside the module, once it serves."""
        ...

    def writer(self, lab: Lab, seed: int) -> Writer: ...

    def check(self, lab: Lab, writer: Writer, seed: int) -> Verdict: ...


class SqliteWorkload:
    """The demo application: rows numbered 1, 2, 3, ..."""

    module = "demo"
    directory = "/srv/demo"
    port = 8080

    def __init__(
        self, workers: int = 1, pause_ms: float = 5.0, first: int = 1, ballast_mib: int = 0
    ) -> None:
        self._first = first
        self._ballast_mib = ballast_mib
        self._workers = workers
        self._pause_ms = pause_ms

    def install(self, cluster: Cluster) -> None:
        for node in NODES:
            cluster.lab.exec(node, ["mkdir", "-p", self.directory])
        if self._ballast_mib:
            # Data that was there before, so that a resync takes long enough to be cut.
            fill = ["dd", "if=/dev/urandom", f"of={self.directory}/ballast", "bs=1M"]
            fill += [f"count={self._ballast_mib}", "conv=fsync", "status=none"]
            cluster.lab.exec("a", fill)
        address = f"address={VIRTUAL_ADDRESS}/24"
        cluster.twofold(
            "a", "module", "add", self.module, "--from", "sqlite-demo", "--set", address
        )

    def begin(self, cluster: Cluster) -> None:
        """Everything runs in the module."""

    def writer(self, lab: Lab, seed: int) -> Writer:
        arguments = ["--address", VIRTUAL_ADDRESS, "--port", str(self.port), "--seed", str(seed)]
        arguments += ["--workers", str(self._workers), "--pause-ms", str(self._pause_ms)]
        arguments += ["--first", str(self._first)]
        return Writer(lab, "sqlite_writer", arguments, lambda fact: fact.get("n"))

    def check(self, lab: Lab, writer: Writer, seed: int) -> Verdict:
        found = dict(self._rows(lab))
        lost = [f"row {number}" for number in writer.ledger.lost(found)]
        wrong = [f"row {n} holds {text!r}" for n, text in found.items() if text != text_of(n, seed)]
        return Verdict([*lost, *wrong], [])

    def _rows(self, lab: Lab) -> list[tuple[int, str]]:
        fetch = (
            "import sys, urllib.request\n"
            "sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
        )
        rows: list[tuple[int, str]] = []
        while True:
            first = rows[-1][0] + 1 if rows else 0
            url = f"http://{VIRTUAL_ADDRESS}:{self.port}/rows?from={first}&limit=20000"
            text = lab.exec("client", ["python", "-c", fetch, url]).stdout
            page = [(row["n"], row["text"]) for row in json.loads(text)["rows"]]
            if not page:
                return rows
            rows += page


_MARIADB_MODULE = """\
[module]
description = "MariaDB for the torture"
max_loops = 1000

[replication]
directories = ["{directory}"]

[[address]]
ip = "{address}/24"

[[service]]
name = "mariadb"
command = {command}
start_timeout = "60s"
stop_timeout = "30s"
ready = {{ tcp = "127.0.0.1:{port}" }}

[[checker]]
name = "process"
kind = "process"
service = "mariadb"

[[checker]]
name = "answers"
kind = "tcp"
address = "127.0.0.1:{port}"
"""


class KineWorkload:
    """Kubernetes' datastore without Kubernetes: a kine on each node, MariaDB behind the address."""

    module = "kine"
    directory = mariadb.DIRECTORY
    port = 2379

    def __init__(self, workers: int = 4, pause_ms: float = 20.0) -> None:
        self._workers = workers
        self._pause_ms = pause_ms

    def install(self, cluster: Cluster) -> None:
        mariadb.initialise(cluster.lab, "a")
        cluster.lab.exec("b", ["mkdir", "-p", self.directory])
        text = _MARIADB_MODULE.format(
            directory=self.directory,
            address=VIRTUAL_ADDRESS,
            command=json.dumps(mariadb.command()),
            port=mariadb.PORT,
        )
        place = f"/var/tmp/{self.module}"
        cluster.lab.exec("a", ["mkdir", "-p", place])
        cluster.lab.exec("a", ["sh", "-c", f"cat > {place}/module.toml"], stdin=text)
        cluster.twofold("a", "module", "add", self.module, "--from", place)

    def begin(self, cluster: Cluster) -> None:
        kine = requirements.find_kine()
        assert kine is not None, "asked for before the torture began"
        argv = [
            str(kine),
            f"--listen-address=tcp://0.0.0.0:{self.port}",
            "--metrics-bind-address=0",
            f"--endpoint={mariadb.endpoint(VIRTUAL_ADDRESS)}",
        ]
        for node in NODES:
            cluster.lab.supervise(node, "kine", argv)

    def _endpoints(self) -> list[str]:
        return ["--endpoint", f"10.77.0.1:{self.port}", "--endpoint", f"10.77.0.2:{self.port}"]

    def writer(self, lab: Lab, seed: int) -> Writer:
        arguments = [*self._endpoints(), "--seed", str(seed)]
        arguments += ["--workers", str(self._workers), "--pause-ms", str(self._pause_ms)]
        return Writer(lab, "kine_writer", arguments, lambda fact: fact.get("ack"), keep_all=True)

    def check(self, lab: Lab, writer: Writer, seed: int) -> Verdict:
        read = ["python", "-m", "twofold.lab.clients.kine_reader", *self._endpoints()]
        answers = [json.loads(line) for line in lab.exec("client", read).stdout.splitlines()]
        if not answers:
            raise MachineError("Neither kine answered at the end of the torture.")
        lost: list[str] = []
        back = [fact for fact in writer.facts if "back" in fact]
        for answer in answers:
            some_lost, gone_back = judge_keys(writer.facts, answer)
            lost += some_lost
            back += gone_back
        return Verdict(list(dict.fromkeys(lost)), back)


def judge_keys(facts: Sequence[Fact], answer: Fact) -> tuple[list[str], list[Fact]]:
    """Acknowledged writes that a kine does not have in the end; revisions below theirs. Pure."""
    found: dict[str, list[object]] = answer["keys"]
    attempted: dict[str, set[object]] = {}
    highest = 0
    lost: list[str] = []
    for fact in facts:
        if "maybe" in fact:
            attempted.setdefault(fact["maybe"], set()).add(fact["value"])
        if "ack" in fact:
            attempted.setdefault(fact["key"], set()).add(fact["value"])
    for fact in facts:
        if "ack" not in fact:
            continue
        key, value, revision = fact["key"], fact["value"], fact["revision"]
        highest = max(highest, revision)
        now_value, now_revision = found.get(key, ["", 0])
        assert isinstance(now_revision, int)
        kept = now_value == value if now_revision == revision else now_value in attempted[key]
        if now_revision < revision or not kept:
            lost.append(f"{key} at revision {revision}: found {now_value!r} at {now_revision}")
    back: list[Fact] = []
    if answer["revision"] < highest:
        back.append({"back": {"by": "end", "revision": answer["revision"], "highest": highest}})
    return lost, back
