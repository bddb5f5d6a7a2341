"""What a module is made of on this node, as `twofold resources` and `twofold state` show it:
services, addresses, checkers with their verdicts and how these changed.
"""

from __future__ import annotations

from typing import Any

from twofold.daemon.checking import Asked, Checking


def verdicts(checking: Checking) -> list[dict[str, Any]]:
    """One short object for each checker; `ok` is None before the first verdict."""
    return [
        {
            "name": name,
            "ok": asked.tally.ok,
            "text": asked.tally.text,
            "on": not checking.is_off(name),
            "unsteady": asked.tally.unsteady,
            "side": asked.watched.side,
        }
        for name, asked in checking.asked.items()
    ]


def checkers(checking: Checking) -> list[dict[str, Any]]:
    """The long form: also what counts, what follows, and the last changes, newest first."""
    return [{**short, **_more(checking.asked[str(short["name"])])} for short in verdicts(checking)]


def _more(asked: Asked) -> dict[str, Any]:
    watched, tally = asked.watched, asked.tally
    return {
        "kind": watched.kind,
        "action": watched.action,
        "interval_s": watched.interval_s,
        "failures_to_count": watched.failures,
        "failures": tally.failures,
        "history": [
            {"at": change.at, "ok": change.ok, "text": change.text}
            for change in reversed(asked.history)
        ],
    }
