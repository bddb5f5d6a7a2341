"""Two real daemons on loopback, each with its own places, against fake engines.

`kill` ends everything of a node as a power cut does. All processes that were started are ended by
pid in `close`, also after a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.adapters import pki

ROOT = Path(__file__).parents[2]
NETWORKS = {"lan": "127.77.0.", "flow": "127.77.1."}
NUMBERS = {"a": "1", "b": "2"}
PORT = 9177

MODULE = """
[module]
{module}
[replication]
directories = ["{directory}"]
port = {port}

[[service]]
name = "app"
command = ["/bin/sh", "{root}/app.sh"]
side = "primary"
stop_timeout = "5s"
"""

APP = """echo "$TWOFOLD_NODE start" >> {root}/story
trap 'echo "$TWOFOLD_NODE stop" >> {root}/story; exit 0' TERM
while :; do sleep 0.1; done
"""


class TwoNodes:
    def __init__(self, root: Path, module: str = "") -> None:
        self.root = root
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        cluster_id = str(uuid.uuid4())
        authority = pki.create_authority(cluster_id)
        heartbeat_key = pki.create_heartbeat_key()
        cluster = self._cluster(cluster_id)
        (root / "data").mkdir()
        (root / "app.sh").write_text(APP.format(root=root))
        for name in NUMBERS:
            etc = root / name / "etc"
            (etc / "modules" / "files").mkdir(parents=True)
            key = pki.create_key()
            request = pki.create_request(key, name)
            pki.write_pki(
                etc / "pki",
                {
                    "ca.key": authority.key,
                    "ca.crt": authority.certificate,
                    "node.key": key,
                    "node.crt": pki.sign_request(authority, request, name, cluster_id),
                    "heartbeat.key": heartbeat_key,
                },
            )
            (etc / "node.toml").write_text(f'name = "{name}"\n')
            (etc / "cluster.toml").write_text(cluster)
            text = MODULE.format(module=module, directory=root / "data", port=PORT, root=root)
            (etc / "modules" / "files" / "module.toml").write_text(text)

    def _cluster(self, cluster_id: str) -> str:
        lines = ["[cluster]", 'name = "test"', f'id = "{cluster_id}"']
        lines += ["[heartbeat]", 'interval = "100ms"', 'timeout = "1s"']
        for network in NETWORKS:
            lines += ["[[network]]", f'name = "{network}"']
        for name, number in NUMBERS.items():
            pairs = ", ".join(f'{n} = "{ip}{number}"' for n, ip in NETWORKS.items())
            lines += ["[[node]]", f'name = "{name}"', f"addresses = {{ {pairs} }}"]
        return "\n".join(lines) + "\n"

    def start(self, *names: str) -> None:
        for name in names:
            home = self.root / name
            environment = {
                **os.environ,
                "TWOFOLD_ETC": str(home / "etc"),
                "TWOFOLD_VAR": str(home / "var"),
                "TWOFOLD_RUN": str(home / "run"),
                "TWOFOLD_MIRROR_COMMAND": f"{sys.executable} -m tests.fakes.engine",
                "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            }
            with (self.root / f"{name}.log").open("ab") as log:
                self.daemons[name] = subprocess.Popen(
                    [sys.executable, "-m", "twofold.daemon"],
                    env=environment,
                    stderr=log,
                    stdout=log,
                )
            self.until(lambda n=name: self.state(n) is not None, f"daemon {name} answers")

    def kill_daemon(self, name: str) -> None:
        self.daemons[name].kill()
        self.daemons[name].wait(5)

    def kill(self, name: str) -> None:
        """A power cut: daemon, engine and services end at once."""
        self.kill_daemon(name)
        for pid in self._processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for left in (self.root / name / "run").rglob("*"):
            if left.is_file() or left.is_socket():
                left.unlink()

    def _processes(self, name: str) -> list[int]:
        """Ours: the engine by its run directory, services by the name of their node."""
        run, services = f"{self.root}/{name}/run".encode(), str(self.root).encode()
        node = f"TWOFOLD_NODE={name}".encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes()
                if run in command or (services in command and node in environment):
                    found.append(int(entry.name))
        return found

    def ask(self, name: str, command: str, **fields: Any) -> dict[str, Any]:
        path = self.root / name / "run" / "twofoldd.sock"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(15)
            client.connect(str(path))
            client.sendall(json.dumps({"id": 1, "command": command, **fields}).encode() + b"\n")
            with client.makefile("rb") as lines:
                return json.loads(lines.readline())

    def do(self, name: str, command: str, **fields: Any) -> str:
        reply = self.ask(name, command, module="files", **fields)
        return reply["sentence"] if reply["ok"] else f"refused: {reply['error']['text']}"

    def state(self, name: str) -> dict[str, Any] | None:
        try:
            return self.ask(name, "state", module="files")["modules"][0]
        except (OSError, KeyError, ValueError):
            return None

    def states(self) -> str:
        words: list[str] = []
        for name in NUMBERS:
            found = self.state(name) if self.daemons[name].poll() is None else None
            words.append(f"{found['state']}:{found['readiness']}" if found else "off")
        return " ".join(words)

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 15.0) -> float:
        """How long it took; fails with both logs when it did not come."""
        begin = time.monotonic()
        while time.monotonic() - begin < timeout_s:
            if holds():
                return time.monotonic() - begin
            time.sleep(0.03)
        raise AssertionError(f"not within {timeout_s:g} s: {what}\n{self.logs()}")

    def until_states(self, wanted: str, timeout_s: float = 15.0) -> float:
        return self.until(lambda: self.states() == wanted, wanted, timeout_s)

    def logs(self) -> str:
        texts = [f"== {n} ==\n{self._tail(self.root / f'{n}.log')}" for n in NUMBERS]
        return "\n".join(texts)

    def _tail(self, path: Path) -> str:
        return "\n".join(path.read_text().splitlines()[-40:]) if path.exists() else ""

    def story(self) -> list[str]:
        path = self.root / "story"
        return path.read_text().splitlines() if path.exists() else []

    def end_process(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for name, daemon in self.daemons.items():
            daemon.kill()
            daemon.wait(5)
            for pid in self._processes(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
