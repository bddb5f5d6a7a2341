"""Which actions interrupt or destroy something, what exactly, and the word that confirms it.

One table for API and console: the consequence that a person reads is the one that a program gets
in its refusal. `confirm` is the module's name, so that nobody confirms the wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twofold.errors import OperatorError
from twofold.web.watch import Snapshot

ACTIONS = ("start", "stop", "restart", "swap", "prim", "second")
SERVING = ("PRIM", "ALONE", "UP")


class ConfirmNeeded(OperatorError):
    code = "confirm_needed"


@dataclass(frozen=True)
class Consequence:
    text: str
    dangerous: bool = False  # the API wants `confirm`, the console the module's name typed
    interrupts: bool = False  # the console asks first


def consequence(
    snapshot: Snapshot, module: str, action: str, node: str, force: bool = False
) -> Consequence:
    """What `action` on `node` would do as things are."""
    states = {n.node: (m or {}) for n, m in snapshot.objects(module)}
    own = states.get(node, {})
    others = [(n, m) for n, m in states.items() if n != node]
    serves = own.get("state") in SERVING
    match action:
        case "start":
            return Consequence(f"{module} starts on {node}.")
        case "stop":
            return _stop(module, node, own, others)
        case "restart" if serves:
            return Consequence(
                f"The services of {module} on {node} stop and start again; clients wait meanwhile.",
                interrupts=True,
            )
        case "restart":
            return Consequence(f"{module} starts again on {node}, which does not serve.")
        case "swap":
            return Consequence(
                f"{module} changes sides in order; clients wait a few seconds, and nothing is "
                "lost.",
                interrupts=True,
            )
        case "second":
            return Consequence(
                f"{module} follows on {node}: what only this copy has is replaced.",
                dangerous=not own.get("up_to_date", False),
                interrupts=True,
            )
        case _:
            return _prim(module, node, own, others, force)


def _stop(
    module: str, node: str, own: dict[str, Any], others: list[tuple[str, dict[str, Any]]]
) -> Consequence:
    if own.get("state") not in SERVING:
        return Consequence(
            f"{module} stops on {node}. The other node goes on, without a second copy.",
            interrupts=True,
        )
    ready = [n for n, m in others if m.get("state") == "SECOND" and m.get("readiness") == "Ready"]
    if ready:
        return Consequence(
            f"{module} stops on {node}, and {ready[0]} takes over. There is no second copy then.",
            interrupts=True,
        )
    return Consequence(
        f"{module} stops on {node}, and nobody serves it then: clients get no answer.",
        dangerous=True,
        interrupts=True,
    )


def _prim(
    module: str,
    node: str,
    own: dict[str, Any],
    others: list[tuple[str, dict[str, Any]]],
    force: bool,
) -> Consequence:
    if not force:
        return Consequence(
            f"{node} serves {module} with its own data, if that is known to be the newest.",
            interrupts=True,
        )
    other = others[0][0] if others else "the other node"
    return Consequence(
        f"{node} serves {module} with the data it has, even if {other} has newer data. What only "
        f"{other} has is replaced when it comes back; a rescue keeps it as far as its limit goes.",
        dangerous=True,
        interrupts=True,
    )


def check(found: Consequence, module: str, confirm: str | None) -> None:
    if found.dangerous and confirm != module:
        raise ConfirmNeeded(found.text, f'To do it all the same, send "confirm": "{module}".')
