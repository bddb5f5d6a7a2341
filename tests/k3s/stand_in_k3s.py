"""A stand-in for K3s on one node of the lab: `python -m tests.k3s.stand_in_k3s KINE`.

It reads the configuration that K3s would read, starts kine with the same datastore settings, and
answers as an API that knows this node, which is Ready as long as kine accepts connections. It is
no K3s: no pod runs.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.k3s.api_stub import ApiStub
from twofold.k3s import texts

KINE_PORT = 2379


def main() -> None:
    config: dict[str, Any] = yaml.safe_load(Path(texts.CONFIG).read_text())
    listen = f"--listen-address=tcp://{config['node-ip']}:{KINE_PORT}"
    endpoint = f"--endpoint={config['datastore-endpoint']}"
    kine = [sys.argv[1], listen, "--metrics-bind-address=0", endpoint]
    stub = ApiStub("0.0.0.0", 6443)
    name = socket.gethostname()
    # K3s leaves when it cannot reach its datastore, and systemd starts it again; so do we.
    process: subprocess.Popen[bytes] | None = None
    while True:
        if process is None or process.poll() is not None:
            process = subprocess.Popen(kine)
        with socket.socket() as link:
            link.settimeout(1)
            ready = link.connect_ex((config["node-ip"], KINE_PORT)) == 0
        stub.put(f"/api/v1/nodes/{name}", _node(name, config["node-ip"], ready))
        time.sleep(0.5)


def _node(name: str, ip: str, ready: bool) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


if __name__ == "__main__":
    main()
