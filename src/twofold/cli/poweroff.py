"""The machine goes down: every module stops in order, and the peer serves before it is gone.

Called by `packaging/systemd/twofold-poweroff.service`, not by people (they say `twofold stop`).
What was running starts again at boot. Bounded: a machine that is to go down goes down.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twofold.client import Client
from twofold.errors import TwofoldError

WAIT_S = 90.0
TAKEN_S = 5.0  # a peer that is to take the service over does so at once, or not at all
SERVED_S = 25.0  # and then starts the application; this machine's network goes after that
LOOK_EVERY_S = 0.2
_SERVING = ("PRIM", "ALONE")


def main() -> int:
    try:
        with Client() as client:
            moving = [str(m["module"]) for m in _modules(client) if _moves(m)]
            client.ask("shutdown", timeout_s=30.0)
            running = _wait(client)
            unserved = [] if running else _wait_served(client, moving)
    except TwofoldError as error:
        print(f"the modules could not be stopped in order: {error}", file=sys.stderr)
        return 1
    if running:
        print(f"not stopped within {WAIT_S:g} s: {', '.join(running)}", file=sys.stderr)
    for sentence in unserved:
        print(sentence, file=sys.stderr)
    return 1 if running else 0


def _modules(client: Client) -> list[dict[str, Any]]:
    return list(client.ask("state")["modules"])


def _moves(m: dict[str, Any]) -> bool:
    """It is served here, and the peer is there to take it."""
    return m["state"] == "PRIM" and m["peer"].get("state") == "SECOND"


def _wait(client: Client) -> list[str]:
    """The modules that still run when the time is over."""
    until_s = time.monotonic() + WAIT_S
    while True:
        running = [str(m["module"]) for m in _modules(client) if m["state"] != "STOP"]
        if not running or time.monotonic() > until_s:
            return running
        time.sleep(LOOK_EVERY_S)


def _wait_served(client: Client, moving: list[str]) -> list[str]:
    """A sentence for each module that the peer does not serve when nothing is to be expected."""
    begun_s = time.monotonic()
    while True:
        late = [m for m in _modules(client) if m["module"] in moving and not _served(m)]
        waited_s = time.monotonic() - begun_s
        if not any(waited_s < _patience_s(m) for m in late):
            return [
                f"{m['module']}: stopped here, and {m['peer']['node']} does not serve it; "
                f"there: twofold why {m['module']}"
                for m in late
            ]
        time.sleep(LOOK_EVERY_S)


def _served(m: dict[str, Any]) -> bool:
    return m["peer"].get("state") in _SERVING and m["peer"].get("readiness") == "Ready"


def _patience_s(m: dict[str, Any]) -> float:
    """None for a peer that is off, or going down too; little for one that may not take over."""
    state = m["peer"].get("state")
    if state in (None, "STOP"):
        return 0.0
    return SERVED_S if state in _SERVING else TAKEN_S


if __name__ == "__main__":
    sys.exit(main())
