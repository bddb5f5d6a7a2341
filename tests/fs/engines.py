"""Two engines on this machine, driven by their control sockets as the daemon would.

Each has its tree, state and run directory below one temporary folder and an address of the loopback
range. `close` leaves nothing behind: mounts, processes and files go, also after a failed test.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.adapters import pki

CLUSTER = "7e57c0de-0000-4000-8000-000000000002"
PEER_TIMEOUT_MS = 1500
# Below the range from which the kernel gives ports to connections.
_ports = itertools.count(random.randrange(12000, 32000))


class Refused(Exception):
    """The engine refused a command; `code` is the one of the interface."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Engine:
    def __init__(
        self, home: Path, name: str, peer: str, addresses: tuple[str, str], **options: Any
    ) -> None:
        self.name = name
        self.home = home / name
        self.tree = self.home / "tree"
        self.run_dir = self.home / "run"
        self.raw = self.run_dir / "raw" / "0"
        for folder in (self.tree, self.run_dir, self.home / "state", self.home / "pki"):
            folder.mkdir(parents=True)
        self.config: dict[str, Any] = {
            "module": "test",
            "cluster": CLUSTER,
            "node": name,
            "peer": peer,
            "trees": [{"path": str(self.tree)}],
            "state_dir": str(self.home / "state"),
            "run_dir": str(self.run_dir),
            "listen": [addresses[0]],
            "peer_addresses": [addresses[1]],
            "tls": {key: str(self.home / "pki" / f"{key}.pem") for key in ("ca", "cert", "key")},
            "sync": "write",
            "peer_timeout_ms": PEER_TIMEOUT_MS,
            "resync_limit_bytes_per_s": None,
            # As the product has it. Without the map everything else must be the same.
            "dirty_map": os.environ.get("TWOFOLD_DIRTY_MAP") != "0",
        } | options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.run_dir / "mirror.json"
        path.write_text(json.dumps(self.config))
        log = (self.run_dir / "mirror.log").open("ab")
        command = [sys.executable, "-m", "twofold.mirror_process", "--config", str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_until(lambda: (self.run_dir / "mirror.sock").exists() and self._answers(), 10)

    def _answers(self) -> bool:
        try:
            self.status()
        except OSError:
            return False
        return True

    def log(self) -> str:
        """Nothing, if it was never started."""
        log = self.run_dir / "mirror.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def command(self, name: str, timeout_s: float = 30, **fields: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout_s)
            line.connect(str(self.run_dir / "mirror.sock"))
            line.sendall(json.dumps({"id": 1, "command": name, **fields}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
        if not answer.get("ok"):
            raise Refused(answer["error"]["code"], answer["error"]["text"])
        return answer

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.command("status")["status"]
        return status

    def wait_until(self, true: Callable[[], bool], timeout_s: float = 15) -> None:
        until = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > until:
                raise AssertionError(
                    f"not within {timeout_s} s on {self.name}:\n{self.log()[-3000:]}"
                )
            assert self.process is None or self.process.poll() is None, self.log()[-3000:]
            time.sleep(0.02)

    def wait_status(self, timeout_s: float = 15, **wanted: Any) -> None:
        self.wait_until(lambda: wanted.items() <= self.status().items(), timeout_s)

    def kill(self) -> None:
        """As a crash of the process: no goodbye. The dead mount is taken away as a reboot would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None
        self.unmount()

    def unmount(self) -> None:
        for place in (self.tree, self.raw):
            while subprocess.run(["umount", "-l", str(place)], capture_output=True).returncode == 0:
                pass
        (self.run_dir / "mirror.sock").unlink(missing_ok=True)

    def stop(self, abort: bool = False) -> None:
        self.command("stop", abort=abort)
        assert self.process is not None
        assert self.process.wait(10) == 0, self.log()
        self.process = None


class Pair:
    """Two engines; `a` becomes primary first unless a test says otherwise."""

    def __init__(self, home: Path, **options: Any) -> None:
        port = next(_ports)
        ends = (f"127.0.0.1:{port}", f"127.0.0.2:{port}")
        self.home = home
        self.epoch = 0
        self.a = Engine(home, "a", "b", ends, **options)
        self.b = Engine(home, "b", "a", (ends[1], ends[0]), **options)
        self.issue_keys()

    def issue_keys(self) -> None:
        """New keys for both, of an authority of their own."""
        authority = pki.create_authority(CLUSTER)
        for engine in (self.a, self.b):
            key = pki.create_key()
            request = pki.create_request(key, engine.name)
            cert = pki.sign_request(authority, request, engine.name, CLUSTER)
            for name, pem in (("ca", authority.certificate), ("cert", cert), ("key", key)):
                Path(engine.config["tls"][name]).write_bytes(pem)

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def start(self, timeout_s: float = 90) -> None:
        """Both engines; `a` serves its data, `b` has received all of it."""
        self.a.start()
        self.b.start()
        self.a.command("become_primary", epoch=self.next_epoch(), alone=True, first=True)
        self.b.command("become_secondary", epoch=self.epoch)
        self.in_sync(self.a, timeout_s)

    def in_sync(self, primary: Engine, timeout_s: float = 90) -> None:
        primary.wait_status(timeout_s, link="up", peer_up_to_date=True, resync=None)

    def account(self) -> str:
        """What both say of themselves now, and the end of what they said before."""
        lines: list[str] = []
        for engine in (self.a, self.b):
            try:
                status = json.dumps(engine.status())
            except (OSError, Refused) as error:
                status = f"no status: {error}"
            lines += [f"{engine.name}: {status}", engine.log()[-4000:]]
        return "\n".join(lines)

    def close(self) -> None:
        for engine in (self.a, self.b):
            if engine.process is not None and engine.process.poll() is None:
                try:
                    engine.command("stop", timeout_s=10, abort=True)
                    engine.process.wait(5)
                except (OSError, Refused, subprocess.TimeoutExpired):
                    engine.process.kill()
                    engine.process.wait(5)
        # With both ended: a program that is begun closes our files first, which waits for writes.
        for engine in (self.a, self.b):
            engine.unmount()
        if not any(os.path.ismount(e.tree) or os.path.ismount(e.raw) for e in (self.a, self.b)):
            shutil.rmtree(self.home, ignore_errors=True)
