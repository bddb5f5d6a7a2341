"""`twofold k3s prereq | first | second`, typed in the guests as docs/guides/k3s.md has it: from two
bare machines to datastore and volumes that serve.

Real: the product, systemd, MariaDB, NFS, kine. A stand-in: K3s and its installer (`programs/k3s`),
which records what it is told and starts kine with the datastore settings that K3s would read.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from .guest import ADDRESSES, GuestFailed, wait_until
from .network import CLIENT
from .pair import NODES, Pair, progress
from .volumes import IMAGE_SIZE, MODULE, VIRTUAL_VOLUMES

AIRGAP = "/payload/k3s"
INSTALL_BOUND_S = 1800.0
_FIRST = (
    f"twofold k3s first --address {VIRTUAL_VOLUMES}/24 --volumes {IMAGE_SIZE} --thin "
    f"--airgap {AIRGAP} --json"
)


def results(text: str) -> dict[str, str]:
    return {step["step"]: step["result"] for step in json.loads(text)["steps"]}


def install(pair: Pair) -> None:
    """The cluster too, when the pair is in none yet. Arbitration is what the installer proposes:
    ping of the default router, which is the client host here.
    """
    route = f"ip route replace default via {CLIENT}"
    pair.both(f"{route}; echo '{route}' >>/usr/local/sbin/vm-network")
    progress("k3s prereq on both")
    for text in pair.both(f"twofold k3s prereq --airgap {AIRGAP} --json", INSTALL_BOUND_S):
        assert "failed" not in results(text).values()
    words = _invited(pair)
    progress("k3s first on a, k3s second on b")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(pair["b"].run, f"{words} --json", INSTALL_BOUND_S)
        # Until then `first` would make another invitation.
        wait_until("b has joined", lambda: second.done() or pair.is_formed(), 300, 2.0)
        made = results(pair["a"].run(_FIRST, INSTALL_BOUND_S))
        received = results(second.result())
    progress(f"installed: {made}; {received}")
    for found in (made, received):
        assert set(found.values()) <= {"done", "was done"} and found["k3s"] == "done"
    for node in NODES:
        told = pair[node].run("cat /var/lib/vm-k3s-told")
        assert "INSTALL_K3S_VERSION=v1.36.2+k3s1" in told and told.endswith("server\n")
    pair.wait_both_ready(MODULE, 600)


def _invited(pair: Pair) -> str:
    """The command for the second node: with a token while it is in no cluster."""
    if pair.is_formed():
        return f"twofold k3s second --address {VIRTUAL_VOLUMES}/24 --airgap {AIRGAP}"
    done = pair["a"].try_run(f"{_FIRST} --wait 0", INSTALL_BOUND_S)
    line = next((s for s in done.stderr.splitlines() if "twofold k3s second" in s), None)
    if line is None:
        raise GuestFailed(f"`first` shows no command for the second node:\n{done.stderr}")
    pair.set_heartbeat()
    assert f"--server {ADDRESSES['a']}" in line
    return line.strip().replace("--airgap DIR", f"--airgap {AIRGAP}")
