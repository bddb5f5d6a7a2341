"""Say what happens while it happens: follow an action through states and journal to its end.

The daemon accepts an action and answers at once. Here its states are asked a few times a second,
what the nodes write in their journals is printed as it comes, and the end is recognised by a pure
function: `reached`, or `stuck` (nothing moves and the goal is not there).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twofold.cli.output import NotReached
from twofold.cli.progress_line import ProgressLine
from twofold.client import Client
from twofold.errors import ApplicationError, NodeUnreachable, PeerError

POLL_S = 0.25
PEER_WAIT_S = 1.5
CALM_S = 2.5  # after the goal: for the link between the nodes to come up
SILENT_MAX_S = 15.0  # of a daemon, here or on the other node, which does not answer in time
CLOCKS_APART_S = 5.0  # between the nodes, where that is all that tells old entries from new ones
GRACE_S = 3.0  # a state that is not the goal must stand still this long to be the end

Object = dict[str, Any]
ROLES = frozenset({"PRIM", "ALONE", "UP", "SECOND"})
SERVING = frozenset({"PRIM", "ALONE", "UP"})


def in_role(o: Object) -> bool:
    """Serving, or following (a resync may go on for hours, the role is reached)."""
    if o.get("state") in SERVING:
        return o.get("readiness") == "Ready"
    return o.get("state") == "SECOND" and (o.get("readiness") == "Ready" or bool(o.get("resync")))


def serving(o: Object) -> bool:
    return o.get("state") in SERVING and o.get("readiness") == "Ready"


def second(o: Object) -> bool:
    return o.get("state") == "SECOND" and in_role(o)


def stopped(o: Object) -> bool:
    return o.get("state") == "STOP" and o.get("readiness") != "Transient"


@dataclass
class Follower:
    """Follows `module` until each node of `goals` has reached its goal."""

    client: Client
    module: str
    goals: Mapping[str, Callable[[Object], bool]]
    quiet: bool = False
    seen: dict[str, int] = field(default_factory=dict[str, int])  # node -> last journal entry
    begun_at: float = 0.0  # of the calendar
    still_since: float = 0.0
    progress: ProgressLine | None = None
    last: dict[str, Object] = field(default_factory=dict[str, Object])

    def begin(self) -> Follower:
        """Before the action: where the journals stand now."""
        self.begun_at = time.time()
        for node in self.goals:
            entries = self._entries(node, {"limit": 1})
            if entries is not None:
                self.seen[node] = max((int(e["id"]) for e in entries), default=0)
        return self

    def run(self, timeout_s: float) -> None:
        """Returns when the goals are reached; else raises, with the daemon's sentence."""
        try:
            self._run(timeout_s)
        finally:
            self._progress().clear()

    def _run(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self.still_since = time.monotonic()
        while True:
            states = self._states()
            self._print_news()
            if not self.quiet:
                self._progress().show(states.values())
            if all(goal(states[n]) for n, goal in self.goals.items()):
                self._calm()
                return
            self._refuse_stuck(states)
            if time.monotonic() > deadline:
                raise NotReached(
                    f"{self.module}: not there after {timeout_s:g} s; " + _sentences(states),
                    "It goes on; see: twofold state",
                )
            time.sleep(POLL_S)

    def _calm(self) -> None:
        """Roles are reached a moment before the nodes agree that all is well; show the latter."""
        deadline = time.monotonic() + CALM_S
        while time.monotonic() < deadline:
            states = self._states()
            if all(_at_rest(o) for o in states.values()):
                break
            time.sleep(POLL_S)
        self._print_news()

    def _asked(self) -> list[Object]:
        """What the nodes say of themselves; a daemon that is late is asked again for a while."""
        since_s = time.monotonic()
        while True:
            try:
                return self.client.ask_nodes(
                    list(self.goals), "state", timeout_s=PEER_WAIT_S, module=self.module
                )
            except NodeUnreachable:
                # On a machine that is busy with the action itself; that goes on all the same.
                if time.monotonic() - since_s > SILENT_MAX_S:
                    raise
                self.still_since = time.monotonic()
                time.sleep(POLL_S)

    def _states(self) -> dict[str, Object]:
        answers = self._asked()
        states = {str(a["node"]): a["modules"][0] if a.get("modules") else a for a in answers}
        picture = {n: _picture(o) for n, o in states.items()}
        if picture != {n: _picture(o) for n, o in self.last.items()}:
            self.still_since = time.monotonic()
        self.last = states
        return states

    def _refuse_stuck(self, states: Mapping[str, Object]) -> None:
        # Who takes a service over is busy with that: its silence is not the end of it.
        late = any(_is_silent(o) for o in states.values())
        if time.monotonic() - self.still_since < (SILENT_MAX_S if late else GRACE_S):
            return
        if any(o.get("readiness") == "Transient" for o in states.values()):
            return
        missing = {n: o for n, o in states.items() if not self.goals[n](o)}
        kind = ApplicationError if all(stopped(o) for o in missing.values()) else NotReached
        first = next(iter(missing.values()))
        advice = str(first.get("next") or "See: twofold why " + self.module)
        raise kind(f"{self.module}: {_sentences(missing)}", advice)

    def _progress(self) -> ProgressLine:
        if self.progress is None:
            self.progress = ProgressLine(self.module)
        return self.progress

    def _print_news(self) -> None:
        for node in self.goals:
            known = node in self.seen
            entries = self._entries(node, {"since": self.seen.get(node, 0), "limit": 50})
            for entry in entries or []:
                self.seen[node] = max(self.seen.get(node, 0), int(entry["id"]))
                old = not known and float(entry["at"]) < self.begun_at - CLOCKS_APART_S
                if not (self.quiet or old) and entry.get("module") in (self.module, None):
                    self._progress().clear()
                    print_entry(node, entry)

    def _entries(self, node: str, fields: Mapping[str, Any]) -> list[Object] | None:
        """None: it did not answer."""
        try:
            answers = self.client.ask_nodes(
                [node], "log", timeout_s=PEER_WAIT_S, module=self.module, **fields
            )
        except PeerError:
            return None
        return list(answers[0]["entries"]) if answers and "entries" in answers[0] else None


def _at_rest(o: Object) -> bool:
    return o.get("state") == "STOP" or str(o.get("next", "")).startswith("Nothing to do")


def _is_silent(o: Object) -> bool:
    return "error" in o and o["error"].get("code") == NodeUnreachable.code


def _picture(o: Object) -> tuple[Any, ...]:
    return (o.get("state"), o.get("readiness"), o.get("sentence"))


def _sentences(states: Mapping[str, Object]) -> str:
    def text(o: Object) -> str:
        if "error" in o:
            return str(o["error"].get("text"))
        return f"{o.get('state')} ({str(o.get('sentence', '')).rstrip('.')})"

    return "; ".join(f"{n} is {text(o)}" for n, o in states.items())


def print_entry(node: str, entry: Mapping[str, Any]) -> None:
    """One line of a journal: time, node, sentence."""
    at = time.strftime("%H:%M:%S", time.localtime(float(entry.get("at") or 0)))
    alarm = entry.get("severity") in ("alarm", "error", "warning")
    colours = ("\033[2m", "\033[0m", "\033[33m") if sys.stdout.isatty() else ("", "", "")
    dim, plain, yellow = colours
    sentence = f"{yellow}{entry.get('sentence')}{plain}" if alarm else str(entry.get("sentence"))
    where = f"{node}  " if node else ""
    print(f"{dim}{at}{plain} {where}{sentence}", flush=True)
