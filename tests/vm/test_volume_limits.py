"""A volume holds what its claim asked for, and no more: on a real XFS, over a real NFS."""

from __future__ import annotations

import json

import pytest

from .guest import PATIENCE
from .pair import NODES, Pair, other
from .test_k3s import served
from .volumes import EXPORT, MODULE, MOUNT

pytestmark = [pytest.mark.vm, pytest.mark.timeout(5400 * PATIENCE)]

NAME, LIMIT_MIB = "shop-data-pvc-1", 24
# What the watch does when Kubernetes has told it of the volume (tests/k3s/test_volume_limits.py).
_LIMIT = f"""
import json
from twofold.k3s import quota
from twofold.k3s.machine import ThisMachine
volume = quota.Volume("{EXPORT}/{NAME}", {LIMIT_MIB} << 20)
machine = ThisMachine()
assert quota.can_limit(machine, "{EXPORT}")
print(json.dumps([quota.limit(machine, "{EXPORT}", [volume]) for _ in range(2)]))
"""


def written_mib(pair: Pair, node: str, name: str) -> int:
    """As much of 40 MiB as a program on this node could write into the volume, over NFS."""
    file = f"{MOUNT}/{NAME}/{name}"
    pair[node].try_run(f"dd if=/dev/zero of={file} bs=1M count=40 conv=fsync status=none")
    return int(pair[node].run(f"stat -c %s {file}")) >> 20


@pytest.mark.timeout(5400 * PATIENCE)
def test_a_volume_holds_what_was_asked_for_on_either_node(bare: Pair) -> None:
    served(bare)
    primary = bare.primary(MODULE)
    bare[primary].run(f"mkdir -m 777 {EXPORT}/{NAME} && echo before > {EXPORT}/{NAME}/before")
    said = bare[primary].run("/opt/twofold/bin/python -", timeout_s=300, stdin=_LIMIT)
    assert json.loads(said) == [[f"{EXPORT}/{NAME} may hold {LIMIT_MIB} MiB"], []]
    client = other(primary)
    assert LIMIT_MIB - 4 <= written_mib(bare, client, "first") <= LIMIT_MIB
    assert f"{LIMIT_MIB}M" in bare[client].run(f"df -h --output=size {MOUNT}/{NAME}")
    # The limit is in the image: the other node keeps it, and nobody has to set it there.
    bare[primary].run(f"twofold swap {MODULE}", timeout_s=900)
    bare.wait_both_ready(MODULE, 900)
    bare[client].run(f"rm {MOUNT}/{NAME}/first")
    for node in NODES:
        assert LIMIT_MIB - 4 <= written_mib(bare, node, "second") <= LIMIT_MIB
    bare[client].run(f"echo elsewhere > {MOUNT}/elsewhere")
