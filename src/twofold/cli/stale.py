"""`prim` on a copy that may be old: how old it is, what is lost, and a person's word for it.

The daemon refuses; whoever sits at a terminal is asked, with the age that this node's decisions
tell: the last moment at which it served or followed. Scripts are refused, and say `--yes`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from twofold.cli.quantities import duration_text
from twofold.cli.session import Session
from twofold.cli.state import module_states
from twofold.client import Client
from twofold.errors import NeedsForce, TwofoldError

CURRENT = ("PRIM", "ALONE", "SECOND")
DECISIONS = 1000
REST_TIMEOUT_S = 15.0


def asked_all_the_same(refusal: NeedsForce, session: Session, module: str) -> bool:
    """True when somebody is there to be asked, and said yes."""
    if session.as_json or not sys.stdin.isatty():
        return False
    sentence = refusal.sentence or str(refusal)
    typer.echo(f"{sentence[:1].upper()}{sentence[1:]}.")
    if not typer.confirm(f"{consequence(session, module, time.time())} Go on?"):
        return False
    _await_rest(session, module)
    return True


def _await_rest(session: Session, module: str) -> None:
    """What was refused is still being stopped for a moment."""
    ends_s = time.monotonic() + REST_TIMEOUT_S
    with Client() as client:
        while time.monotonic() < ends_s:
            if module_states(client, session.nodes, module)[0].get("state") == "STOP":
                return
            time.sleep(0.2)


def consequence(session: Session, module: str, now: float) -> str:
    node = session.nodes[0] if session.nodes else None
    try:
        with Client() as client:
            answer = session.ask(client, "why", module=module, limit=DECISIONS)[0]
            own = node or str(client.ask("cluster_state")["node"])
    except TwofoldError:
        return "How old this copy is, is not known. What only the other node has is lost."
    at = last_current(answer.get("decisions", ()))
    if at is None:
        age = f"{own} has no record of ever having served or followed: its copy may be of any age."
    else:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
        age = (
            f"{own} served or followed last at {when}, {duration_text(max(0.0, now - at))} ago: "
            "its copy is as old as that."
        )
    return (
        f"{age} What the other node wrote since then is not here; when it comes back it gives way, "
        "and a rescue keeps what only it has as far as its limit goes."
    )


def last_current(decisions: Iterable[Mapping[str, Any]]) -> float | None:
    """The last moment at which a decision found, or put, the node where its copy is current."""
    found = [float(d["at"]) for d in decisions if {d.get("state"), d.get("then")} & {*CURRENT}]
    return max(found, default=None)
