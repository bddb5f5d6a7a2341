"""Two `twofold-mirror` engines without a daemon: driven by their control sockets, as it would.

Each subject is a pair of its own: the mount alone (no peer), and pairs with different options.
The contract is docs/internals/interfaces.md.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.sandbox import Node, run
from twofold.adapters import pki

CLUSTER = "7e57bec4-0000-4000-8000-000000000001"
EPOCH = 1


class Engine:
    """One engine process and its control socket."""

    def __init__(
        self,
        node: Node,
        peer: Node,
        place: Path,
        tls: dict[str, str],
        port: int,
        options: dict[str, str],
    ) -> None:
        self.node = node
        self.tree = node.disk / place.name
        self._place = place / node.name
        self._process: subprocess.Popen[bytes] | None = None
        self._config: dict[str, Any] = {
            "module": place.name,
            "cluster": CLUSTER,
            "node": node.name,
            "peer": peer.name,
            "trees": [{"path": str(self.tree)}],
            "state_dir": str(node.disk / f"{place.name}-state"),
            "run_dir": str(self._place),
            "listen": [f"{node.address}:{port}"],
            "peer_addresses": [f"{peer.address}:{port}"],
            "tls": tls,
            "sync": "write",
            "peer_timeout_ms": 10000,
            "resync_limit_bytes_per_s": None,
        } | options

    def start(self) -> None:
        for folder in (self._place, self.tree, Path(str(self._config["state_dir"]))):
            folder.mkdir(parents=True, exist_ok=True)
        config = self._place / "mirror.json"
        config.write_text(json.dumps(self._config))
        # A run that was killed leaves its socket, which would be taken for this engine's.
        (self._place / "mirror.sock").unlink(missing_ok=True)
        program = Path(sys.executable).parent / "twofold-mirror"
        self._process = self.node.start(program, "--config", config, log=self._place / "mirror.log")
        deadline_s = time.monotonic() + 20
        while not (self._place / "mirror.sock").exists():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                log = (self._place / "mirror.log").read_text()[-2000:]
                raise RuntimeError(f"the engine of node {self.node.name} did not start: {log}")
            time.sleep(0.05)

    def command(self, name: str, timeout_s: float = 30, **fields: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout_s)
            line.connect(str(self._place / "mirror.sock"))
            line.sendall(json.dumps({"id": 1, "command": name, **fields}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
        if not answer.get("ok"):
            raise RuntimeError(f"engine {self.node.name} refused `{name}`: {answer.get('error')}")
        return answer

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.command("status")["status"]
        return status

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        try:
            self.command("stop", abort=False)
        except (OSError, RuntimeError, ValueError):
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def certificates(folder: Path, names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """The bench cluster's CA and one certificate for each node, made by the product's own code."""
    authority = pki.create_authority(CLUSTER)
    places: dict[str, dict[str, str]] = {}
    for name in names:
        key = pki.create_key()
        request = pki.create_request(key, name)
        own = folder / name
        certificate = pki.sign_request(authority, request, name, CLUSTER)
        pki.write_pki(
            own, {"ca.crt": authority.certificate, "node.crt": certificate, "node.key": key}
        )
        places[name] = {
            "ca": str(own / "ca.crt"),
            "cert": str(own / "node.crt"),
            "key": str(own / "node.key"),
        }
    return places


class Twofold:
    """One subject. `start` gives a mount that serves, `stop` ends both engines in order."""

    def __init__(
        self,
        place: Path,
        nodes: dict[str, Node],
        tls: dict[str, dict[str, str]],
        port: int,
        *,
        alone: bool = False,
        **options: str,
    ) -> None:
        self._alone = alone
        self._a = Engine(nodes["a"], nodes["b"], place, tls["a"], port, options)
        self._b = Engine(nodes["b"], nodes["a"], place, tls["b"], port, options)
        self.path = self._a.tree

    def start(self) -> None:
        self._a.start()
        self._a.command("become_primary", epoch=EPOCH, alone=True, first=True, force=False)
        if self._alone:
            return
        self._b.start()
        self._b.command("become_secondary", epoch=EPOCH)
        deadline_s = time.monotonic() + 60
        while not self._a.status()["peer_up_to_date"]:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"no copy after 60 s: {self._a.status()} {self._b.status()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End both in order; the copies must be equal, for a fast wrong one does not count."""
        self._b.stop()
        self._a.stop()
        if not self._alone:
            run("diff", "-r", self._a.tree, self._b.tree, timeout_s=120)
