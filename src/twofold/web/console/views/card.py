"""A module as a card: two nodes side by side, the direction of replication, one plain sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from twofold.web.console.views import words
from twofold.web.history import History
from twofold.web.overview import Side, Whole, whole
from twofold.web.watch import Object, Snapshot

Tone = Literal["good", "warn", "bad", "idle"]
Arrow = Literal["right", "left", "broken", "none"]

_STATE_TONES: dict[str, Tone] = {
    "PRIM": "good", "UP": "good", "SECOND": "good", "ALONE": "warn", "WAIT": "warn", "STOP": "idle",
}  # fmt: skip
_STATE_WORDS = {
    "PRIM": "serves",
    "ALONE": "serves alone",
    "UP": "serves",
    "SECOND": "follows",
    "WAIT": "waits",
    "STOP": "stopped",
}


@dataclass(frozen=True)
class Fact:
    """A service or a checker: a name, a mark, and what is wrong with it."""

    name: str
    good: bool
    text: str = ""


@dataclass(frozen=True)
class Box:
    """One node's side of a card."""

    node: str
    state: str  # "" while it does not answer
    word: str
    tone: Tone
    since: str
    sentence: str
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    percent: float | None
    text: str


@dataclass(frozen=True)
class Card:
    module: str
    kind: str
    tone: Tone
    badge: str
    boxes: tuple[Box, ...]
    arrow: Arrow
    arrow_tone: Tone
    arrow_text: str
    sentence: str
    advice: str
    address: str
    pace: str
    lag: str
    last_event: str
    progress: Progress | None


def card(
    snapshot: Snapshot, module: str, history: History, entries: Iterable[Object], now: float
) -> Card:
    found = whole(snapshot, module)
    boxes = tuple(_box(snapshot, s) for s in found.sides)
    arrow, arrow_tone = _arrow(found.sides)
    tone, badge = _badge(found)
    pace, lag = _pace(history, found)
    progress = _progress(found.sides)
    return Card(
        module=module,
        kind=found.kind,
        tone=tone,
        badge=badge,
        boxes=boxes,
        arrow=arrow,
        arrow_tone=arrow_tone,
        arrow_text=pace if arrow in ("left", "right") and progress is None else "",
        sentence=found.sentence,
        advice=found.next,
        address=_address(found.sides),
        pace=pace,
        lag=lag,
        last_event=_last_event(module, entries, now),
        progress=progress,
    )


def cards(
    snapshot: Snapshot, history: History, entries: Iterable[Object], now: float
) -> tuple[Card, ...]:
    kept = list(entries)
    return tuple(card(snapshot, m, history, kept, now) for m in snapshot.module_names())


def _box(snapshot: Snapshot, side: Side) -> Box:
    found = side.object
    if not found:
        seen = snapshot.node(side.node)
        error: Object = (seen.error if seen else None) or {}
        text = str(error.get("text") or "This node does not answer.")
        return Box(side.node, "", "no answer", "bad", "", text, (), ())
    state = str(found["state"])
    tone = _STATE_TONES.get(state, "idle")
    if tone == "good" and found.get("readiness") != "Ready":
        tone = "warn"
    return Box(
        side.node,
        state,
        _STATE_WORDS.get(state, state.lower()),
        tone,
        words.duration(float(found.get("since_s") or 0.0)),
        str(found.get("sentence", "")),
        _facts(found, side.serves),
        _warnings(found),
    )


def _facts(found: Object, serves: bool) -> tuple[Fact, ...]:
    """What runs, and what is probed; where it does not serve, nothing should run."""
    facts: list[Fact] = []
    for service in found.get("services", ()) if serves else ():
        facts.append(Fact(str(service["name"]), bool(service.get("running"))))
    for checker in found.get("checkers", ()) if serves else ():
        if checker.get("ok") is not None:
            good = bool(checker["ok"])
            facts.append(
                Fact(f"check {checker['name']}", good, "" if good else str(checker.get("text", "")))
            )
    return tuple(facts)


def _warnings(found: Object) -> tuple[str, ...]:
    peer: dict[str, Any] = found.get("peer") or {}
    networks: dict[str, bool] = peer.get("networks") or {}
    silent = [n for n, heard in networks.items() if not heard] if peer.get("heard") else []
    texts: list[str] = []
    if silent:
        texts.append(f"The other node is not heard on {' and '.join(silent)}.")
    if found.get("pending_configuration"):
        texts.append("A new configuration is used from the next start.")
    if peer.get("same_configuration") is False:
        texts.append("The nodes' configurations differ.")
    return tuple(texts)


def _arrow(sides: tuple[Side, ...]) -> tuple[Arrow, Tone]:
    if len(sides) != 2:
        return "none", "idle"
    left, right = sides
    if left.serves and right.serves:
        return "broken", "bad"
    if left.serves and right.state == "SECOND":
        return "right", "good" if right.object.get("readiness") == "Ready" else "warn"
    if right.serves and left.state == "SECOND":
        return "left", "good" if left.object.get("readiness") == "Ready" else "warn"
    return ("broken", "warn") if left.serves or right.serves else ("none", "idle")


def _badge(found: Whole) -> tuple[Tone, str]:
    serving = [s for s in found.sides if s.serves]
    if len(serving) > 1:
        return "bad", "Both serve"
    match found.health:
        case "good":
            return "good", "Protected"
        case "degraded":
            copying = any(s.object.get("resync") for s in found.sides)
            return "warn", "Copying" if copying else "Not protected"
        case "stopped":
            return "idle", "Stopped"
        case "unknown":
            return "bad", "Unknown"
        case _:
            return "bad", "Not serving"


def _pace(history: History, found: Whole) -> tuple[str, str]:
    if found.serving is None:
        return "", ""
    points = history.points(found.serving, found.module)[-5:]
    if not points:
        return "", ""
    mean = sum(p.bytes_per_s for p in points) / len(points)
    pending = points[-1].pending
    return words.rate(mean), f"{pending} writes on their way" if pending else "none waits"


def _address(sides: tuple[Side, ...]) -> str:
    held: dict[str, str] = {}
    every: dict[str, None] = {}
    for side in sides:
        for address in side.object.get("addresses", ()):
            every[str(address["ip"])] = None
            if address.get("held"):
                held[str(address["ip"])] = side.node
    return ", ".join(f"{ip.partition('/')[0]} on {held.get(ip, 'no node')}" for ip in every)


def _last_event(module: str, entries: Iterable[Object], now: float) -> str:
    own = [e for e in entries if e.get("module") == module]
    if not own:
        return ""
    last = own[-1]
    return f"{words.clock(float(last['at']), now)} {last['node']}: {last['sentence']}"


def _progress(sides: tuple[Side, ...]) -> Progress | None:
    copying = [s.object["resync"] for s in sides if s.object.get("resync")]
    if not copying:
        return None
    resync: Object = max(copying, key=lambda r: r.get("as") == "source")
    done, total = resync.get("bytes_done"), resync.get("bytes_total")
    parts: list[str] = []
    percent = None
    if done is not None and total:
        percent = min(100.0, 100.0 * float(done) / float(total))
        parts.append(f"{percent:.0f} % of {words.size(float(total))}")
    else:
        parts.append("comparing the copies")
    if resync.get("bytes_per_s"):
        parts.append(words.rate(float(resync["bytes_per_s"])))
    if resync.get("seconds_left") is not None:
        parts.append(f"{words.left(float(resync['seconds_left']))} left")
    return Progress(percent, ", ".join(parts))
