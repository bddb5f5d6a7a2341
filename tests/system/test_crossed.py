"""Active/active: two modules, each served by another node, on one pair; real daemons.

Each node is the backup of the other. A death moves what the dead node served and touches nothing
else; the way back is a swap.
"""

from __future__ import annotations

import pytest

from tests.system.conftest import READY_WITHIN_S, Pair
from twofold.lab.cluster import other
from twofold.lab.lab import NODES

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(240),
]

SECOND_MODULE = """
[module]
description = "served by the other node"
[replication]
directories = ["/srv/crossed"]
port = 9177
[[address]]
ip = "10.77.0.151/24"
[[service]]
name = "sleeper"
command = ["/bin/sleep", "100000"]
"""


def test_two_modules_crossed_on_two_nodes(pair: Pair) -> None:
    here = pair.primary()
    there = other(here)
    place = "/var/tmp/crossed"
    for node in NODES:
        pair.lab.exec(node, ["mkdir", "-p", "/srv/crossed", place])
    pair.lab.exec(here, ["sh", "-c", f"cat > {place}/module.toml"], stdin=SECOND_MODULE)
    pair.twofold(here, "module", "add", "crossed", "--from", place)
    try:
        pair.twofold(there, "prim", "crossed")
        pair.twofold(here, "start", "crossed", "--no-wait")
        pair.cluster.wait_both_ready("crossed", READY_WITHIN_S)
        assert (pair.primary(), pair.cluster.primary("crossed")) == (here, there)
        pid = pair.application_pid(here)
        for dead, alive in ((there, here), (here, there)):
            pair.lab.kill(dead)
            one_serves_both(pair, alive)
            if alive == here:
                assert pair.application_pid(here) == pid, "what it served before was not touched"
            pair.lab.start(dead)
            pair.whole()
            pair.cluster.wait_both_ready("crossed", READY_WITHIN_S)
            assert (pair.primary(), pair.cluster.primary("crossed")) == (alive, alive)
            back = "crossed" if alive == here else pair.module
            pair.twofold(alive, "swap", back)
            pair.whole()
            pair.cluster.wait_both_ready("crossed", READY_WITHIN_S)
            assert (pair.primary(), pair.cluster.primary("crossed")) == (here, there)
    finally:
        pair.twofold(here, "stop", "crossed", "-H", "*", check=False)
        pair.twofold(here, "module", "remove", "crossed", "--yes", check=False)
    pair.nothing_lost()


def one_serves_both(pair: Pair, node: str) -> None:
    def shown() -> tuple[str, str]:
        return pair.cluster.shown(node, "crossed"), pair.shown(node)

    serves = ("ALONE Ready", "ALONE Ready")
    pair.cluster.wait(f"{node} serves both", lambda: shown() == serves, 20, lambda: str(shown()))
