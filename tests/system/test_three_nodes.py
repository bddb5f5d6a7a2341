"""Three nodes, two modules, one backup: m1 lives on a and c, m2 on b and c; real daemons.

A death on one side moves what lived there and touches nothing else. When both sides are dead the
backup serves both: nothing counts how much it can carry (docs/guides/shared-backup.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from twofold.lab.cluster import Cluster
from twofold.lab.lab import Lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(240),
]

READY_WITHIN_S = 60.0
HOMES = {"m1": "ac", "m2": "bc"}
MODULE = """
[replication]
directories = ["/srv/NAME"]
[[address]]
ip = "10.77.0.NUMBER/24"
[[service]]
name = "sleeper"
command = ["/bin/sleep", "100000"]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    disks = tmp_path_factory.mktemp("disks")
    lab = Lab.make(f"three{os.getpid()}", size_bytes=256 << 20, directory=disks, nodes=3)
    try:
        made = Cluster(lab)
        made.form()
        for number, (name, nodes) in enumerate(HOMES.items()):
            for node in nodes:  # not on the third: it must not look for the directory
                lab.exec(node, ["mkdir", "-p", f"/srv/{name}"])
            text = MODULE.replace("NAME", name).replace("NUMBER", str(150 + number))
            lab.exec("a", ["sh", "-c", f"mkdir -p /tmp/{name}; cat > /tmp/{name}/module.toml"],
                     stdin=text)  # fmt: skip
            refused = made.twofold(
                "a", "module", "add", name, "--from", f"/tmp/{name}", check=False
            )
            assert "a mirror lives on two nodes, and this cluster has 3" in refused.stderr
            words = ["--from", f"/tmp/{name}", "--nodes", ",".join(nodes)]
            made.twofold("a", "module", "add", name, *words)
        yield made
    finally:
        if os.environ.get("TWOFOLD_TEST_KEEP") is None:
            lab.down()


def test_one_backup_for_two_primaries(cluster: Cluster) -> None:
    # Said on one node for all: each command finds the two nodes that it is about.
    cluster.twofold("b", "start", "m1", "--prim", "a")
    cluster.twofold("b", "start", "m2", "--prim", "b")
    for name in HOMES:
        cluster.wait_both_ready(name, READY_WITHIN_S)
    who_is_not_concerned_does_nothing(cluster)
    before = pid(cluster, "b", "m2")
    cluster.lab.kill("a")
    wait_shown(cluster, "c", "m1", "ALONE Ready")
    assert cluster.shown("b", "m2") == "PRIM Ready"
    assert cluster.shown("c", "m2") == "SECOND Ready"
    assert pid(cluster, "b", "m2") == before, "what a's death does not concern was not touched"
    cluster.lab.kill("b")
    wait_shown(cluster, "c", "m2", "ALONE Ready")
    assert cluster.shown("c", "m1") == "ALONE Ready", "the backup carries both"
    cluster.lab.start("a")
    cluster.lab.start("b")
    for name, nodes in HOMES.items():
        cluster.wait_both_ready(name, READY_WITHIN_S)
        assert cluster.primary(name) == "c"
        cluster.twofold(nodes[0], "swap", name)
        cluster.wait_both_ready(name, READY_WITHIN_S)
    assert (cluster.primary("m1"), cluster.primary("m2")) == ("a", "b")


def who_is_not_concerned_does_nothing(cluster: Cluster) -> None:
    found = json.loads(cluster.twofold("b", "state", "--json").stdout)
    seen = {(each["module"], each["node"]) for each in found}
    assert seen == {(name, node) for name, nodes in HOMES.items() for node in nodes}
    assert "elsewhere" in cluster.twofold("b", "module", "list").stdout
    assert not cluster.lab.inside("b", "/run/twofold/m1/mirror.sock").exists()
    assert cluster.lab.inside("c", "/run/twofold/m1/mirror.sock").exists()
    refused = cluster.twofold("b", "start", "m1", check=False)
    assert refused.returncode != 0
    assert "Module 'm1' lives on a and c, not on node b" in refused.stderr
    assert cluster.shown("a", "m1") == "PRIM Ready"


def pid(cluster: Cluster, node: str, module: str) -> int:
    state = cluster.state(node, module)
    assert state is not None
    return int(state["services"][0]["pid"])


def wait_shown(cluster: Cluster, node: str, module: str, wanted: str) -> None:
    cluster.wait(
        f"{module} is {wanted} on {node}",
        lambda: cluster.shown(node, module) == wanted,
        20,
        lambda: cluster.shown(node, module),
    )
