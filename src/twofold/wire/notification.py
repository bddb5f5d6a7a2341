"""A notification as data, and as text: what goes from the daemon to the process that sends it.

Pure. The message is one JSON object on standard input, so that no secret stands in a process list.
"""

from __future__ import annotations

import fnmatch
import json
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LINES_MAX = 30
GENERIC = (
    '{"title": "${title}", "text": "${text}", "severity": "${severity}", '
    '"cluster": "${cluster}", "events": ${events}}'
)


@dataclass(frozen=True)
class Happening:
    """One entry of a node's journal."""

    node: str
    at: float
    module: str
    severity: str
    code: str
    sentence: str

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Happening:
        return Happening(
            str(data["node"])[:64],
            float(data["at"]),
            str(data["module"])[:64],
            str(data["severity"])[:16],
            str(data["code"])[:64],
            str(data["sentence"])[:2000],
        )


def wanted(
    happening: Happening, severity: str, modules: Sequence[str], events: Sequence[str]
) -> bool:
    if severity == "alarm" and happening.severity != "alarm":
        return False
    if modules and happening.module not in modules:
        return False
    return not events or any(fnmatch.fnmatchcase(happening.code, e) for e in events)


def message(cluster: str, happenings: Sequence[Happening], left_out: int) -> dict[str, Any]:
    """`left_out`: events before these that no message told of."""
    ordered = sorted(happenings, key=lambda h: h.at)
    alarms = [h for h in ordered if h.severity == "alarm"]
    # What became of a service comes before what was seen of a node or a network meanwhile.
    about = ([h for h in alarms if h.module] or alarms or ordered)[-1]
    where = about.module or f"node {about.node}"
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(h.at))}  {h.node}  "
        f"{f'{h.module}: ' if h.module else ''}{h.sentence}"
        for h in ordered[-LINES_MAX:]
    ]
    more = left_out + max(0, len(ordered) - LINES_MAX)
    if more:
        lines.append(f"({more} earlier events are not shown; see: twofold events)")
    return {
        "title": f"[{cluster}] {where}: {about.sentence}"[:200],
        "text": "\n".join(lines),
        "severity": "alarm" if alarms else "info",
        "cluster": cluster,
        "events": [vars(h) for h in ordered[-LINES_MAX:]],
    }


def body_of(template: str | None, told: Mapping[str, Any]) -> str:
    """The template with values as JSON has them inside a text."""
    values = {k: json.dumps(told[k])[1:-1] for k in ("title", "text", "severity", "cluster")}
    values["events"] = json.dumps(told["events"])
    return string.Template(template or GENERIC).safe_substitute(values)
