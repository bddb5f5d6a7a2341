"""Who comes back from a power cut is sent what was in doubt only."""

from __future__ import annotations

import json

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(240)]

LARGE_MIB = 48
LOOKED_AT_MAX = LARGE_MIB << 19


def write_large(pair: Pair) -> None:
    """Something on both that nobody touches from then on."""
    node = pair.primary()
    large = ["dd", "if=/dev/urandom", "of=/srv/demo/large", "bs=1M", f"count={LARGE_MIB}"]
    pair.lab.exec(node, [*large, "conv=fsync", "status=none"])


@pytest.mark.long
def test_a_resync_after_a_power_cut_looks_at_a_part(pair: Pair) -> None:
    write_large(pair)
    old = pair.primary()

    def large_is_certain() -> bool:
        _, text = pair.twofold(old, "mirror", "estimate", pair.module, "--json")
        found = json.loads(text)
        return found["looks_at"] != "everything" and found["bytes"] < LOOKED_AT_MAX

    pair.cluster.wait("a checkpoint is made", large_is_certain, 60)
    pair.lab.kill(old)
    pair.cluster.wait("the other serves", lambda: pair.serves(other(old)), 30)
    pair.lab.start(old)
    pair.whole()
    state = pair.cluster.state(other(old), pair.module)
    assert state is not None
    resync = state["last_resync"]
    assert resync["only_doubt"], resync
    assert resync["bytes_looked_at"] < LOOKED_AT_MAX, resync
    pair.nothing_lost()
