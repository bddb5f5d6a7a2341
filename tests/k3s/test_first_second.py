"""The installer's own steps on two nodes of the lab: from nothing to kine on both, and a take-over.

Real: cluster, join, module, MariaDB, volume image, kine. Stand-ins: systemd and the package
manager (a node of the lab has none), and K3s's installer, which records what it is told.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from twofold.lab.cluster import Cluster
from twofold.lab.lab import NODES, Lab
from twofold.lab.requirements import find_kine

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("mariadbd") is None, reason="needs mariadb-server"),
    pytest.mark.skipif(find_kine() is None, reason="needs kine: scripts/setup.sh kine"),
]
ROOT = Path(__file__).resolve().parents[2]
VIRTUAL = "10.77.0.100/24"
AIRGAP = "/srv/airgap"

_SYSTEMCTL = """\
#!/bin/sh
case "$1 $2" in
"is-enabled twofoldd") echo enabled ;;
"is-enabled rpc-statd") echo masked ;;
"is-enabled "*) echo disabled ;;
"is-active twofoldd") echo active ;;
"is-active "*) echo inactive ;;
esac
"""
_DPKG_QUERY = "#!/bin/sh\necho installed\n"
_K3S = "#!/bin/sh\necho 'k3s version v1.36.2+k3s1 (stand-in)'\n"
_INSTALLER = """\
#!/bin/sh
set -eu
env | grep '^INSTALL_K3S' | sort >/srv/told; echo "$*" >>/srv/told
mkdir -p /etc/systemd/system /etc/rancher/k3s
echo stand-in >/etc/systemd/system/k3s.service
cat >/etc/rancher/k3s/k3s.yaml <<EOF
clusters: [{name: d, cluster: {server: "http://127.0.0.1:6443"}}]
contexts: [{name: d, context: {cluster: d, user: d}}]
users: [{name: d, user: {token: none}}]
current-context: d
EOF
cd ROOT; export PYTHONPATH=src:.
setsid PYTHON -m tests.k3s.stand_in_k3s KINE >/srv/k3s.log 2>&1 </dev/null &
"""


@pytest.fixture
def bare(tmp_path: Path) -> Generator[Cluster]:
    """Two nodes with daemons, in no cluster yet."""
    lab = Lab.make(f"k3s{os.getpid()}", size_bytes=16 << 30, directory=tmp_path)
    try:
        for node in NODES:
            prepare(lab, node)
        cluster = Cluster(lab)
        cluster.start_daemons()
        yield cluster
    finally:
        if os.environ.get("TWOFOLD_TEST_KEEP") is None:
            lab.down()


def prepare(lab: Lab, node: str) -> None:
    installer = _INSTALLER.replace("ROOT", str(ROOT)).replace("PYTHON ", f"{sys.executable} ")
    files = {
        "/srv/bin/systemctl": _SYSTEMCTL,
        "/srv/bin/dpkg-query": _DPKG_QUERY,
        f"{AIRGAP}/k3s": _K3S,
        f"{AIRGAP}/install.sh": installer.replace("KINE", str(find_kine())),
    }
    for path, text in files.items():
        write = 'mkdir -p "${1%/*}"; cat >"$1"; chmod 755 "$1"'
        lab.exec(node, ["sh", "-c", write, "sh", path], stdin=text)
    # The machine's own /usr/local/bin stays as it is: this is in the node's mounts only.
    lab.exec(node, ["mount", "--bind", "/srv/bin", "/usr/local/bin"])
    lab.exec(node, ["mkdir", "-p", "/run/systemd/system"])
    lab.exec(node, ["ip", "route", "add", "default", "via", "10.77.0.3"], check=False)


def k3s(cluster: Cluster, node: str, *words: str, check: bool = True) -> tuple[int, str, str]:
    done = cluster.twofold(node, "k3s", *words, timeout_s=300, check=check)
    return done.returncode, done.stdout, done.stderr


def results(out: str) -> dict[str, str]:
    return {s["step"]: s["result"] for s in json.loads(out)["steps"]}


def test_from_nothing_to_two_servers_and_a_take_over(bare: Cluster) -> None:
    lab = bare.lab
    for node in NODES:
        assert "failed" not in results(k3s(bare, node, "prereq", "--json")[1]).values()
    first = ["first", "--address", VIRTUAL, "--volumes", "400M", "--airgap", AIRGAP, "--set"]
    first += ["nfs=off", "--arbitration", "none", "--json"]
    code, _, told = k3s(bare, "a", *first, "--wait", "0", check=False)
    assert code != 0 and "twofold k3s second" in told
    words = next(line for line in told.splitlines() if "k3s second" in line).split()
    second = [w.replace("DIR", AIRGAP) for w in words[words.index("second") :]] + ["--json"]
    background = threading.Thread(target=k3s, args=(bare, "b", *second), daemon=True)
    background.start()
    bare.wait("b has joined", lambda: _nodes(lab, "a") == 2, 60)
    assert results(k3s(bare, "a", *first)[1])["k3s"] == "done"
    background.join(300)
    assert set(results(k3s(bare, "b", *second[:1], *second[2:])[1]).values()) == {"was done"}
    assert set(results(k3s(bare, "a", *first)[1]).values()) == {"was done"}
    for node in NODES:
        told = lab.exec(node, ["cat", "/srv/told"]).stdout
        assert "INSTALL_K3S_VERSION=v1.36.2+k3s1" in told and told.endswith("server\n")
    status = json.loads(k3s(bare, "a", "status", "--json")[1])
    assert status["kubernetes"] == "ready" and status["module"]["state"] == "PRIM"
    assert status["volumes"]["writable"] is True
    _grow_and_back_up(bare)
    _take_over(bare)


def _nodes(lab: Lab, node: str) -> int:
    return lab.exec(node, ["cat", "/etc/twofold/cluster.toml"]).stdout.count("[[node]]")


def _grow_and_back_up(cluster: Cluster) -> None:
    grown: dict[str, Any] = json.loads(k3s(cluster, "a", "volumes", "grow", "600M", "--json")[1])
    assert grown["image_bytes"] == 600 << 20 and grown["size_bytes"] > 500 << 20
    lab = cluster.lab
    lab.exec("a", ["sh", "-c", "mkdir /srv/k3s-volumes/pv; echo one >/srv/k3s-volumes/pv/f"])
    code, _, said = k3s(cluster, "a", "backup", "/srv/backup", check=False)
    assert code != 0 and "--pause" in said  # ext4 cannot clone
    k3s(cluster, "a", "backup", "/srv/backup2", "--pause")
    lab.exec("a", ["sh", "-c", "echo two >/srv/k3s-volumes/pv/f"])
    k3s(cluster, "a", "restore", "/srv/backup2", "--yes")
    found = lab.exec("a", ["cat", "/srv/k3s-volumes/pv/f", "/srv/k3s-volumes/.before-restore/pv/f"])
    assert found.stdout == "one\ntwo\n"


def _take_over(cluster: Cluster) -> None:
    """A key that kine acknowledged on one node is read on the other after the first one's death."""
    lab = cluster.lab
    assert _etcd(lab, "10.77.0.1", "write(b'/t/key', b'kept', 0, 10)").startswith("Written(")
    lab.kill("a")
    cluster.wait("b serves", lambda: cluster.is_ready("b", "k3s"), 60)
    cluster.wait("kine answers on b", lambda: _ready(cluster), 60)
    assert "b'kept'" in _etcd(lab, "10.77.0.2", "read(b'/t/key', 10)")
    assert lab.exec("b", ["cat", "/srv/k3s-volumes/pv/f"]).stdout == "one\n"


def _etcd(lab: Lab, node_ip: str, call: str) -> str:
    """What a client says that asks the kine of one node."""
    text = "from twofold.lab.clients.etcd import Endpoint\n"
    text += f"print(Endpoint('{node_ip}:2379').{call})"
    return lab.exec("client", ["python", "-c", text]).stdout


def _ready(cluster: Cluster) -> bool:
    nodes: list[dict[str, Any]] = json.loads(k3s(cluster, "b", "status", "--json")[1])["nodes"]
    return bool(nodes and nodes[0]["ready"])
