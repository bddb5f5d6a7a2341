"""The main job, repeated: clients write, the primary loses its power again and again.

The account of acknowledged writes is kept outside the nodes. In the end every acknowledged write
must be there, no revision may have gone back, and both copies must be identical. The plan comes
from the seed (`plan`); what the machines make of it is real, so two runs are never quite equal.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

from twofold.errors import MachineError

from .cluster import Cluster, other
from .lab import NODES, Lab
from .plan import Blackout, CableFault, Cut, draw_blackouts, draw_cable_faults, draw_plan
from .told import Account, figure
from .verification import compare_copies
from .workloads import Workload
from .writers import Writer

BACK_WITHIN_S = 90.0
RESYNC_SEEN_WITHIN_S = 20.0
EXAMPLES = 20


@dataclass
class Result:
    """What `--json` prints. `outage_ms`: one for each take-over; `waits_ms`: one for each cut that
    nobody could take over, the time the power was away included; `resyncs`: what each looked at and
    sent; `cable_pauses_ms`: one for each
    cable that was pulled (with `--cables`); `blackouts_ms`: one for each loss of both nodes."""

    app: str
    seed: int
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    revisions_back: int = 0
    outage_ms: list[int | None] = field(default_factory=list[int | None])
    waits_ms: list[int | None] = field(default_factory=list[int | None])
    resync_s: float | None = None
    resyncs_s: list[float] = field(default_factory=list[float])
    resyncs: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    cable_pauses_ms: list[int | None] = field(default_factory=list[int | None])
    blackouts_ms: list[int | None] = field(default_factory=list[int | None])
    identical: bool = False
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        pauses = [*self.outage_ms, *self.waits_ms, *self.cable_pauses_ms, *self.blackouts_ms]
        answered = all(each is not None for each in pauses)
        kept = self.lost == 0 and self.revisions_back == 0
        return kept and self.identical and answered and self.acknowledged > 0

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "ok": self.good}


class Torture:
    def __init__(
        self,
        lab: Lab,
        workload: Workload,
        account: Account,
        app: str,
        kills: int,
        seed: int,
        cables: bool = False,
        blackouts: bool = False,
    ) -> None:
        self._lab = lab
        self._cluster = Cluster(lab)
        self._workload = workload
        self._account = account
        self._plan = draw_plan(seed, kills)
        self._cable_faults = draw_cable_faults(seed, kills) if cables else []
        self._blackouts = draw_blackouts(seed, kills) if blackouts else []
        self.result = Result(app, seed)
        self._off: str | None = None

    def run(self) -> Result:
        self._set_up()
        writer = self._workload.writer(self._lab, self.result.seed)
        try:
            if not writer.wait_acknowledged_after(time.monotonic(), BACK_WITHIN_S):
                raise MachineError("No write was acknowledged before the first power cut.")
            for index, cut in enumerate(self._plan, start=1):
                writer.check_alive()
                if self._cable_faults:
                    self._pull(writer, self._cable_faults[index - 1])
                if self._blackouts:
                    self._black_out(writer, self._blackouts[index - 1])
                self._cut(writer, index, cut)
            self._bring_back()
            time.sleep(1.0)
        finally:
            writer.stop()
            self.result.acknowledged = writer.count
            self.result.seconds = round(self._account.elapsed_s, 1)
        self._judge(writer)
        return self.result

    def _set_up(self) -> None:
        account, module = self._account, self._workload.module
        account.tell(f"{len(self._plan)} power cuts, seed {self.result.seed}.")
        self._cluster.form()
        self._workload.install(self._cluster)
        self._cluster.twofold("a", "prim", module)
        begun_s = time.monotonic()
        self._cluster.twofold("b", "start", module)
        self._cluster.wait_both_ready(module)
        took_s = time.monotonic() - begun_s
        self._workload.begin(self._cluster)
        account.tell(f"PRIM on a, SECOND on b, first copy made in {took_s:.1f} s.")

    def _cut(self, writer: Writer, index: int, cut: Cut) -> None:
        if cut.kind == "resync" and self._off is not None:
            self._cut_in_resync(writer, index, cut)
            return
        self._bring_back()
        time.sleep(cut.after_s)
        self._still_whole(f"before cut {index}")
        victim = self._serving()
        when = "while the other has everything"
        when += ", and has it back at once" if cut.kind == "blink" else ""
        event_s = self._kill(index, victim, when)
        if cut.kind == "blink":
            self._lab.start(victim)
        came = writer.wait_acknowledged_after(event_s, BACK_WITHIN_S)
        outage_ms = writer.outage_ms(event_s) if came else None
        self.result.outage_ms.append(outage_ms)
        ended = "served again" if cut.kind == "blink" else f"{other(victim)} took over"
        self._account.tell(f"     {ended}; pause {figure(outage_ms)}.")
        self._give_up_unless(came)
        if cut.kind == "blink":
            return
        self._off = victim
        time.sleep(cut.off_s)

    def _pull(self, writer: Writer, fault: CableFault) -> None:
        """A cable of one network is out for a while: a pause at most, never a take-over."""
        self._bring_back()
        primary, event_s = self._serving(), time.monotonic()
        self._lab.cut(fault.node, [fault.network], fault.silent)
        time.sleep(fault.for_s)
        self._lab.heal(fault.node)
        came = writer.wait_acknowledged_after(time.monotonic(), BACK_WITHIN_S)
        outage_ms = writer.outage_ms(event_s) if came else None
        self.result.cable_pauses_ms.append(outage_ms)
        how = "silent" if fault.silent else "out"
        self._account.tell(
            f"     {fault.node}'s {fault.network} was {how} for {fault.for_s:.1f} s; "
            f"pause {figure(outage_ms)}."
        )
        self._give_up_unless(came)
        self._cluster.wait_both_ready(self._workload.module, BACK_WITHIN_S)
        if self._serving() != primary:
            self.result.problems.append(f"the service moved when {fault} happened")

    def _black_out(self, writer: Writer, blackout: Blackout) -> None:
        """What was acknowledged was synced on both disks: it outlives even both nodes at once."""
        self._bring_back()
        for node in NODES:
            self._lab.kill(node)
        event_s = time.monotonic()
        self._lab.start(blackout.first_back)
        time.sleep(blackout.between_s)
        self._lab.start(other(blackout.first_back))
        came = writer.wait_acknowledged_after(event_s, BACK_WITHIN_S)
        outage_ms = writer.outage_ms(event_s) if came else None
        self.result.blackouts_ms.append(outage_ms)
        self._account.tell(
            f"     both lost their power, {blackout.first_back} had it back first; "
            f"pause {figure(outage_ms)}."
        )
        self._give_up_unless(came)

    def _cut_in_resync(self, writer: Writer, index: int, cut: Cut) -> None:
        """The node that was cut last comes back; while it receives, the other one is cut."""
        assert self._off is not None
        returning, victim = self._off, other(self._off)
        self._lab.start(returning)
        self._off = None
        module = self._workload.module
        self._cluster.wait(
            f"{returning} is back",
            lambda: (self._cluster.state(returning, module) or {}).get("state") == "SECOND",
            RESYNC_SEEN_WITHIN_S,
            lambda: self._cluster.shown(returning, module),
        )
        time.sleep(cut.after_s)
        ready = self._cluster.is_ready(returning, module)
        when = "just after a resync" if ready else "while the other is in resync"
        event_s = self._kill(index, victim, when)
        if ready:
            came = writer.wait_acknowledged_after(event_s, BACK_WITHIN_S)
            figures = self.result.outage_ms
        else:
            time.sleep(cut.off_s)
            came = False
            figures = self.result.waits_ms
        self._lab.start(victim)
        came = came or writer.wait_acknowledged_after(event_s, BACK_WITHIN_S)
        outage_ms = writer.outage_ms(event_s) if came else None
        figures.append(outage_ms)
        ended = "took over" if ready else f"waited for {victim}, as it must"
        self._account.tell(f"     {returning} {ended}; pause {figure(outage_ms)}.")
        self._give_up_unless(came)

    def _kill(self, index: int, victim: str, when: str) -> float:
        """When it was over: an acknowledgement that arrives later is not from this node."""
        self._lab.kill(victim)
        event_s = time.monotonic()
        self.result.kills += 1
        self._account.tell(f"{index:3}. {victim} loses its power {when}.")
        return event_s

    def _bring_back(self) -> None:
        """Both nodes on, one serving, the other with everything."""
        started_s = time.monotonic()
        off, self._off = self._off, None
        if off is not None:
            self._lab.start(off)
        self._cluster.wait_both_ready(self._workload.module, BACK_WITHIN_S)
        if off is not None:
            self.result.resyncs_s.append(round(time.monotonic() - started_s, 2))
            self.result.resync_s = max(self.result.resyncs_s)
            serving = self._serving()
            found = self._cluster.state(serving, self._workload.module) or {}
            if found.get("last_resync"):
                self.result.resyncs.append(found["last_resync"])

    def _still_whole(self, when: str) -> None:
        """A copy that falls out of step by itself is a fault, even when it finds back."""
        module = self._workload.module
        if not self._cluster.both_ready(module):
            found = ", ".join(f"{node}: {self._cluster.shown(node, module)}" for node in NODES)
            self.result.problems.append(f"out of step by itself {when} ({found})")
            self._account.tell(f"     Out of step by itself: {found}.")
            self._cluster.wait_both_ready(module, BACK_WITHIN_S)

    def _serving(self) -> str:
        serving = self._cluster.primary(self._workload.module)
        if serving is None:
            raise MachineError("Not exactly one node serves: look at `twofold state` on both.")
        return serving

    def _give_up_unless(self, came: bool) -> None:
        if not came:
            module = self._workload.module
            found = ", ".join(f"{node}: {self._cluster.shown(node, module)}" for node in "ab")
            raise MachineError(
                f"The service did not come back within {BACK_WITHIN_S:.0f} s ({found}). "
                "Run it again with --keep and look at `twofold why` on both nodes."
            )

    def _judge(self, writer: Writer) -> None:
        account, result = self._account, self.result
        self._cluster.wait_both_ready(self._workload.module, BACK_WITHIN_S)
        verdict = self._workload.check(self._lab, writer, result.seed)
        result.lost = len(verdict.lost)
        result.revisions_back = len(verdict.revisions_back)
        comparison = compare_copies(self._cluster, self._workload.module)
        result.identical = comparison.identical
        result.problems += [f"lost: {each}" for each in verdict.lost[:EXAMPLES]]
        result.problems += [f"back: {each}" for each in verdict.revisions_back[:EXAMPLES]]
        result.problems += [f"different: {each}" for each in comparison.differences[:EXAMPLES]]
        result.seconds = round(account.elapsed_s, 1)
        account.tell(
            f"{result.acknowledged} writes acknowledged, {result.lost} lost, "
            f"{result.revisions_back} revisions back, copies "
            f"{'identical' if result.identical else 'DIFFERENT'}."
        )
        for problem in result.problems:
            account.tell(f"  {problem}")
