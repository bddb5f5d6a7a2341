"""The main job, told: two nodes, a client that never stops writing, a power cut, nothing lost.

Every figure is measured at the client: what it got an acknowledgement for, and the longest pause
between two acknowledgements around each event.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from twofold.errors import MachineError

from .cluster import Cluster, other
from .lab import Lab
from .told import Account, figure
from .verification import compare_copies
from .workloads import VIRTUAL_ADDRESS, SqliteWorkload
from .writers import Writer

WRITE_BEFORE_S = 2.0
BACK_WITHIN_S = 60.0
SEED = 1


@dataclass(frozen=True)
class Event:
    event: str
    outage_ms: int | None


@dataclass
class Outcome:
    """What `--json` prints."""

    acknowledged: int = 0
    lost: int = 0
    outage_ms: list[int | None] = field(default_factory=list[int | None])
    identical: bool = False
    resync_s: float | None = None
    events: list[Event] = field(default_factory=list[Event])
    files_compared: int = 0
    differences: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        answered = all(each is not None for each in self.outage_ms)
        return self.lost == 0 and self.identical and answered and self.acknowledged > 0

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "ok": self.good}


class Demo:
    def __init__(self, lab: Lab, account: Account) -> None:
        self._cluster = Cluster(lab)
        self._lab = lab
        self._account = account
        self._workload = SqliteWorkload()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        account = self._account
        self._form()
        self._install()
        account.heading("A client writes through the virtual address, all the while")
        writer = self._workload.writer(self._lab, SEED)
        try:
            self._write(writer)
            account.heading("Swap: an orderly change of sides")
            self._swap(writer)
            account.heading("Power cut")
            self._power_cut(writer)
            self._write(writer)
        finally:
            writer.stop()
        account.heading("The count")
        self._count(writer)
        self.outcome.seconds = round(account.elapsed_s, 1)
        return self.outcome

    def _form(self) -> None:
        account = self._account
        account.heading("Two servers and a client, on this machine")
        account.tell("Nodes a and b are on, each with its own disk and two networks.")
        self._cluster.form()
        account.tell("a# twofold cluster init      b# twofold cluster join")
        account.tell("The cluster is formed: own certificates, heartbeats on both networks.")
        for line in self._cluster.console_lines():
            account.plain(f"  {line}")

    def _install(self) -> None:
        account, module = self._account, self._workload.module
        account.heading("An application: SQLite behind HTTP, its data in /srv/demo")
        self._workload.install(self._cluster)
        account.tell(
            f"a# twofold module add demo --from sqlite-demo --set address={VIRTUAL_ADDRESS}/24"
        )
        self._cluster.twofold("a", "prim", module)
        account.tell("a# twofold prim demo         a has the good data, and serves")
        self._cluster.twofold("b", "start", module)
        self._cluster.wait_both_ready(module)
        account.tell("b# twofold start demo        b has received everything, and follows")

    def _write(self, writer: Writer) -> None:
        begun, before = time.monotonic(), writer.count
        if not writer.wait_acknowledged_after(begun, BACK_WITHIN_S):
            raise MachineError("The application does not answer at its virtual address.")
        time.sleep(WRITE_BEFORE_S)
        rate = (writer.count - before) / (time.monotonic() - begun)
        self._account.tell(
            f"{writer.count} rows acknowledged so far ({rate:.0f} a second, each one committed "
            "and on both nodes)."
        )

    def _swap(self, writer: Writer) -> None:
        module = self._workload.module
        old = self._serving()
        event_s = time.monotonic()
        self._account.tell(f"{old}# twofold swap {module}")
        self._cluster.twofold(old, "swap", module)
        self._back(writer, "swap", event_s)
        self._cluster.wait_both_ready(module)
        new = self._serving()
        self._account.tell(f"{new} serves now, {old} follows.")

    def _power_cut(self, writer: Writer) -> None:
        account, module = self._account, self._workload.module
        old = self._serving()
        new = other(old)
        event_s = time.monotonic()
        self._lab.kill(old)
        count = writer.count
        account.tell(f"{old} has lost its power; {count} rows were acknowledged until then.")
        self._back(writer, "power cut", event_s)
        account.tell(f"{new} noticed the silence, took over, and serves alone.")
        self._write(writer)
        account.tell(f"{old} gets its power back, and boots.")
        started_s = time.monotonic()
        self._lab.start(old)
        self._cluster.wait_both_ready(module)
        self.outcome.resync_s = round(time.monotonic() - started_s, 2)
        account.tell(
            f"{old} is back and has everything again, {self.outcome.resync_s:.1f} s after its "
            "power; the client never noticed."
        )

    def _serving(self) -> str:
        serving = self._cluster.primary(self._workload.module)
        if serving is None:
            raise MachineError("Not exactly one node serves: twofold lab exec a -- twofold state")
        return serving

    def _back(self, writer: Writer, event: str, event_s: float) -> None:
        # From now, not from the event: the last writes of the old side must not end the wait.
        came = writer.wait_acknowledged_after(time.monotonic(), BACK_WITHIN_S)
        outage_ms = writer.outage_ms(event_s) if came else None
        self.outcome.outage_ms.append(outage_ms)
        self.outcome.events.append(Event(event, outage_ms))
        self._account.tell(f"Longest pause between two acknowledgements: {figure(outage_ms)}.")

    def _count(self, writer: Writer) -> None:
        account, outcome = self._account, self.outcome
        verdict = self._workload.check(self._lab, writer, SEED)
        outcome.acknowledged = writer.count
        outcome.lost = len(verdict.lost)
        comparison = compare_copies(self._cluster, self._workload.module)
        outcome.identical = comparison.identical
        outcome.files_compared = comparison.entries
        outcome.differences = [str(each) for each in comparison.differences[:20]]
        account.tell(f"Acknowledged: {outcome.acknowledged} rows. Lost: {outcome.lost}.")
        same = "identical" if outcome.identical else "DIFFERENT"
        account.tell(f"The two copies, compared file by file: {same}.")
        for difference in outcome.differences:
            account.tell(f"  {difference}")


def farewell(account: Account, name: str) -> None:
    """What to try next, and how to end it."""
    lab = f"{_program()} lab"
    named = "" if name == "lab" else f" --name {name}"
    account.heading("The lab stays up. Go on:")
    for command, what in (
        (f"{lab} exec{named} a -- twofold state", "who serves, and what to do next"),
        (f"{lab} exec{named} a -- twofold why demo", "why it came to be so"),
        (f"{lab} shell{named} a", "a shell on node a"),
        (f"{lab} console{named}", "the console for a browser of this machine"),
        (f"{lab} watch{named}", "write through the virtual address, and see each pause"),
        (f"{lab} kill{named} a", "cut a's power (while `watch` runs in another terminal)"),
        (f"{lab} start{named} a", "and give it back"),
        (f"{lab} cut{named} b --network flow", "pull a cable (then: heal)"),
        (f"{lab} down{named.removeprefix(' --name')}", "end it and remove everything"),
    ):
        account.plain(f"  {command:<{len(lab) + 34}} {what}")


def _program() -> str:
    """What a person types here: `twofold`, or its path when it is not on theirs."""
    if shutil.which("twofold") is not None:
        return "twofold"
    installed = Path(sys.executable).parent / "twofold"
    here = Path.cwd()
    return str(installed.relative_to(here)) if installed.is_relative_to(here) else str(installed)
