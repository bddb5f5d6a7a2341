"""The machine goes down: every module stops in order, and the peer takes over before it is gone.

Called by `packaging/systemd/twofold-poweroff.service`, not by people (they say `twofold stop`).
What was running starts again at boot. Bounded: a machine that is to go down goes down.
"""

from __future__ import annotations

import sys
import time

from twofold.client import Client
from twofold.errors import TwofoldError

WAIT_S = 90.0
LOOK_EVERY_S = 0.2


def main() -> int:
    try:
        with Client() as client:
            client.ask("shutdown", timeout_s=30.0)
            running = _wait(client)
    except TwofoldError as error:
        print(f"the modules could not be stopped in order: {error}", file=sys.stderr)
        return 1
    if running:
        print(f"not stopped within {WAIT_S:g} s: {', '.join(running)}", file=sys.stderr)
    return 1 if running else 0


def _wait(client: Client) -> list[str]:
    """The modules that still run when the time is over."""
    until_s = time.monotonic() + WAIT_S
    while True:
        modules = client.ask("state")["modules"]
        running = [str(m["module"]) for m in modules if m["state"] != "STOP"]
        if not running or time.monotonic() > until_s:
            return running
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
