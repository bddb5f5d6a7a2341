"""After this machine became a node: wait until its daemon is at work and the nodes hear each other.

So that whatever is typed next finds what it needs. The daemon takes up its new configuration
within a second and then has to begin; a node that does not answer in time is named, and is no
failure: the membership stands.
"""

from __future__ import annotations

import time

from twofold.client import Client, DaemonAbsent
from twofold.errors import TwofoldError

SETTLED_TIMEOUT_S = 20.0
AGAIN_EVERY_S = 0.2


def silent_nodes(expected: set[str], timeout_s: float = SETTLED_TIMEOUT_S) -> set[str] | None:
    """Which of `expected` do not answer when the time is over; None: no daemon runs here."""
    ends_s = time.monotonic() + timeout_s
    silent = set(expected)
    while time.monotonic() < ends_s:
        try:
            with Client() as client:
                answers = client.ask_nodes(("*",), "state", timeout_s=2.0)
            silent = expected - {str(a["node"]) for a in answers if "error" not in a}
        except DaemonAbsent:
            return None
        except TwofoldError:
            pass  # it is just starting
        if not silent:
            break
        time.sleep(AGAIN_EVERY_S)
    return silent
