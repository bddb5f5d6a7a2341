"""From what the nodes say to what a module is as a whole. Pure; the API and the console show it.

A module's sentence is that of the node that knows best: the one that serves, else the one that
waits for something, else any that answers. A node that does not answer is shown as such, and never
hides what the other one says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from twofold.web.watch import NodeSeen, Object, Snapshot

Health = Literal["good", "degraded", "down", "stopped", "unknown"]
SERVING = ("PRIM", "ALONE", "UP")
NOTHING = "Nothing to do"


@dataclass(frozen=True)
class Side:
    """One node's part of a module."""

    node: str
    reachable: bool
    object: Object

    @property
    def state(self) -> str | None:
        return str(self.object["state"]) if self.object else None

    @property
    def serves(self) -> bool:
        return self.state in SERVING


@dataclass(frozen=True)
class Whole:
    module: str
    kind: str
    sides: tuple[Side, ...]
    serving: str | None
    health: Health
    sentence: str
    next: str


def whole(snapshot: Snapshot, module: str) -> Whole:
    sides = tuple(_side(seen, found) for seen, found in snapshot.objects(module))
    known = [s for s in sides if s.object]
    serving = [s for s in known if s.serves]
    kind = str(known[0].object.get("kind", "mirror")) if known else "mirror"
    sentence, advice = _words(snapshot, sides, serving)
    return Whole(
        module,
        kind,
        sides,
        serving[0].node if len(serving) == 1 else None,
        _health(sides, serving),
        sentence,
        advice,
    )


def _side(seen: NodeSeen, found: Object | None) -> Side:
    return Side(seen.node, seen.reachable, found or {})


def _health(sides: tuple[Side, ...], serving: list[Side]) -> Health:
    if not any(s.object for s in sides):
        return "unknown"
    if len(serving) == 1:
        others = [s for s in sides if not s.serves]
        whole_pair = all(
            s.state == "SECOND" and s.object.get("readiness") == "Ready" for s in others
        )
        is_ready = serving[0].state != "ALONE" and serving[0].object.get("readiness") == "Ready"
        return "good" if whole_pair and is_ready else "degraded"
    if len(serving) > 1:
        return "down"  # two serve: worse than none
    return "stopped" if all(s.state == "STOP" for s in sides if s.object) else "down"


def _words(snapshot: Snapshot, sides: tuple[Side, ...], serving: list[Side]) -> tuple[str, str]:
    if len(serving) > 1:
        names = " and ".join(s.node for s in serving)
        return (
            f"{names} both serve, and each takes changes that the other does not have.",
            "Connect the nodes again, then choose the one to keep.",
        )
    known = [s for s in sides if s.object]
    if not known:
        error = snapshot.error or {}
        return str(error.get("text") or "No node answers."), str(error.get("mend") or "")
    order = ("WAIT", "SECOND", "STOP")
    best = serving[0] if serving else min(known, key=lambda s: _place(order, s.state))
    said = str(best.object.get("sentence", ""))
    own_name = f"{best.node} "
    sentence = f"{best.node}: {said}"
    if said.lower().startswith(own_name):  # "A is starting to serve."
        sentence = own_name + said[len(own_name) :]
    if said == "Stopped." and all(s.object.get("sentence") == said for s in known):
        sentence = "Stopped on both nodes." if len(known) == 2 else f"Stopped on {best.node}."
    if _health(sides, serving) == "good" and len(sides) == 2:
        other = next(s.node for s in sides if s is not best)
        sentence = f"{best.node} serves, and {other} has everything: either may fail."
    advice = _advice(best, known)
    lost = [s.node for s in sides if not s.reachable]
    if lost and not serving:
        sentence += f" {' and '.join(lost)} does not answer."
    return sentence, advice


def _place(order: tuple[str, ...], state: str | None) -> int:
    return order.index(state) if state in order else len(order)


def _advice(best: Side, known: list[Side]) -> str:
    """The best node's, else the other's; "nothing to do" is no advice."""
    for side in (best, *known):
        text = str(side.object.get("next") or "")
        if text and not text.startswith(NOTHING):
            return text
    return ""


def wholes(snapshot: Snapshot) -> list[Whole]:
    return [whole(snapshot, name) for name in snapshot.module_names()]


def consoles(cluster: Object, node: str, port: int) -> list[str]:
    """Under which addresses a node's console is found."""
    members: list[dict[str, Any]] = cluster.get("members", [])
    found = next((m for m in members if m["node"] == node), None)
    addresses = list((found or {}).get("addresses", {}).values())
    return [f"https://[{a}]:{port}" if ":" in a else f"https://{a}:{port}" for a in addresses]
