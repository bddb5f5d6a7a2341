"""The return of a machine after a power cut costs what was in doubt, not what the image of 100 GiB
holds.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from .guest import PATIENCE
from .pair import NODES, Pair, other, progress
from .results import Results
from .test_k3s import Users, check_at_rest, served
from .volumes import DIRECTORY, EXPORT, MODULE, MOUNT, mount

MIB = 1 << 20
HELD_MIB = 256  # written once, long before
# What else is looked at: MariaDB's and XFS's own logs, what the programs write, whole zones of it.
BESIDES = 64 * MIB
_CHECKPOINTS_S = 30.0
pytestmark = [pytest.mark.vm, pytest.mark.timeout(5400 * PATIENCE)]


def fill(pair: Pair, node: str, name: str, mib: int) -> None:
    """On the server's own mount, where nothing but the image is measured; each MiB is synced, or
    emulated machines would let nobody else's sync through for a minute."""
    lines = f"yes twofold-{name} | dd of={EXPORT}/{name} bs=1M count={mib} iflag=fullblock"
    pair[node].run(f"{lines} oflag=dsync status=none", timeout_s=900)


@pytest.fixture(scope="module")
def filled(bare: Pair) -> Pair:
    """The volumes served, with something in them that nobody touches from then on.

    What a node wrote lately (1,024 zones) is looked at after its crash; the one that serves after
    the swap has not written this.
    """
    served(bare)
    writer = bare.primary(MODULE)
    fill(bare, writer, "held", HELD_MIB)
    bare[writer].run(f"twofold swap {MODULE}", timeout_s=900)
    bare.wait_both_ready(MODULE, 900)
    return bare


@pytest.mark.parametrize("written_mib", [0, 64])
def test_a_return_costs_what_was_in_doubt(filled: Pair, results: Results, written_mib: int) -> None:
    """`written_mib`: on the survivor, while the other machine is away."""
    users = Users(filled, results)
    try:
        for node in NODES:
            users.begin(node)
        time.sleep(_CHECKPOINTS_S)
        users.wait_more(5)
        victim = filled.primary(MODULE)
        survivor = other(victim)
        filled[victim].power_cut()
        results.kills += 1
        users.end(victim)
        users.wait_more(5)
        if written_mib:
            fill(filled, survivor, f"written-{written_mib}", written_mib)
        filled.back(victim)
        filled.wait_both_ready(MODULE, 900)
        resync: dict[str, Any] = filled.state(survivor, MODULE)["last_resync"]
        users.end(survivor)
        assert users.judge(survivor) == []
    finally:
        for writer in users.running.values():
            writer.stop()
    results.resyncs.append({**resync, "written_mib": written_mib})
    progress(f"{written_mib} MiB written while {victim} was away; resync: {resync}")
    mount(filled, victim)
    in_doubt = written_mib * MIB
    holds = int(filled[survivor].run(f"stat -c %b {DIRECTORY}/volumes.img")) * 512
    assert holds > HELD_MIB * MIB
    assert in_doubt <= resync["bytes_looked_at"] < in_doubt + BESIDES, resync
    assert resync["bytes_sent"] < in_doubt + BESIDES, resync
    assert users.errors() == []


def test_both_copies_are_equal_afterwards(filled: Pair) -> None:
    filled.both(f"mountpoint -q {MOUNT}")
    check_at_rest(filled)
