"""`twofold lab watch`: a client that writes all the while, for a person who plays with the lab."""

from __future__ import annotations

import time

from .lab import Lab
from .told import Account, figure
from .workloads import SqliteWorkload

TELL_EVERY_S = 5.0
PAUSE_WORTH_TELLING_MS = 300


def watch_service(lab: Lab, account: Account) -> None:
    """Tell every pause as soon as it is over, and now and then how many rows were acknowledged."""
    # Numbers from the clock: every run writes rows of its own.
    writer = SqliteWorkload(first=int(time.time() * 1000)).writer(lab, seed=1)
    account.plain("Writing through the virtual address; Ctrl-C ends it.")
    told_s = looked_s = time.monotonic()
    try:
        while True:
            time.sleep(0.2)
            writer.check_alive()
            now_s = time.monotonic()
            last_s = writer.ledger.last_s()
            if last_s is None or now_s - last_s > 1.0:
                if now_s - told_s > 1.0:
                    away_s = now_s - (last_s or looked_s)
                    account.tell(f"no acknowledgement for {away_s:.0f} s")
                    told_s = now_s
                continue
            pause_ms = writer.outage_ms(looked_s)
            looked_s = now_s
            if pause_ms is not None and pause_ms > PAUSE_WORTH_TELLING_MS:
                account.tell(f"a pause of {figure(pause_ms)} is over")
                told_s = now_s
            elif now_s - told_s > TELL_EVERY_S:
                account.tell(f"{writer.count} rows acknowledged")
                told_s = now_s
    except KeyboardInterrupt:
        account.plain()
    finally:
        writer.stop()
        account.plain(f"{writer.count} rows were acknowledged.")
