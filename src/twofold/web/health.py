"""`/health/MODULE`: for load balancers, without login. 200 where the module serves, else 503.

It answers from the look of the last seconds; when that is too old (the daemon does not answer), it
says 503: better no answer than a wrong one. It tells nothing more than the status: a module that
does not exist looks like one that does not serve.
"""

from __future__ import annotations

import time

from twofold.web.overview import SERVING
from twofold.web.watch import FRESH_S, Snapshot


def serves(snapshot: Snapshot, module: str) -> bool:
    seen = snapshot.node(snapshot.here)
    if seen is None or not seen.reachable or time.time() - seen.seen_at > FRESH_S:
        return False
    return any(
        m["module"] == module and m["state"] in SERVING and m["readiness"] == "Ready"
        for m in seen.modules
    )
