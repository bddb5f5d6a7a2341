"""What runs in the guests instead of `k3s server`: `server.py KINE`.

It reads the configuration that K3s would read, starts kine with the datastore of it (the same DSN,
the same environment from /etc/default/k3s), and answers on port 6443 as an API that knows this
node, Ready as long as kine accepts connections. It is no K3s: no pod runs. It ends when kine ends,
as K3s does, and systemd starts it again.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path("/etc/rancher/k3s/config.yaml.d/50-twofold.yaml")
ENVIRONMENT = Path("/etc/default/k3s")
KINE_PORT, API_PORT = 2379, 6443


def environment() -> dict[str, str]:
    lines = ENVIRONMENT.read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {**os.environ, **dict(pairs)}


def node(own: str) -> dict[str, Any]:
    with socket.socket() as link:
        link.settimeout(2)
        ready = link.connect_ex((own, KINE_PORT)) == 0
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": socket.gethostname(), "resourceVersion": "1", "uid": own},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": own}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def serve(own: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            said: dict[str, Any] | None = None
            if path == "/readyz":
                said = {}
            elif path == "/api/v1/nodes":
                said = {"kind": "NodeList", "metadata": {}, "items": [node(own)]}
            elif path == "/api/v1/pods":
                said = {"kind": "PodList", "metadata": {}, "items": []}
            self.send_response(404 if said is None else 200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said or {"kind": "Status"}).encode())

    ThreadingHTTPServer(("0.0.0.0", API_PORT), Handler).serve_forever()


def main() -> None:
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    own = str(config["node-ip"])
    listen = f"--listen-address=tcp://{own}:{KINE_PORT}"
    endpoint = f"--endpoint={config['datastore-endpoint']}"
    kine = [sys.argv[1], listen, "--metrics-bind-address=0", endpoint]
    process = subprocess.Popen(kine, env=environment())
    threading.Thread(target=serve, args=(own,), daemon=True).start()
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
