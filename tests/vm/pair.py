"""Two guests with the package installed, formed into a cluster, and the client beside them.

Commands of the product are typed in the guests as an administrator would; only looking, which
happens often, asks the daemon's socket directly (a command of Python takes ten seconds on an
emulated processor).

When a test fails, `keep_logs` leaves what the guests said in `TWOFOLD_VM_LOGS` (default:
dist/vm-logs).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .guest import ADDRESSES, Guest, GuestFailed, wait_until
from .image import image
from .network import Network

ROOT = Path(__file__).resolve().parents[2]
LOGS = Path(os.environ.get("TWOFOLD_VM_LOGS", ROOT / "dist" / "vm-logs"))
PROGRAMS = Path(__file__).parent / "programs"
NODES = ("a", "b")
CLUSTER_FILE = "/etc/twofold/cluster.toml"
PACKAGE_BOUND_S = 3600.0
READY_BOUND_S = 240.0
_SERVING = ("PRIM", "ALONE")
# On an emulated processor a daemon that is busy may be late by seconds; a node that is silent for
# the default of 3 s is often well. With 10 s every death is noticed 7 s later than in production.
# Each beat costs 20 ms of such a processor, so there is one a second.
HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT = "1s", "10s"
_begun = time.monotonic()


def progress(text: str) -> None:
    """A line for whoever waits: a run takes from half an hour to two."""
    print(f"[{time.monotonic() - _begun:6.0f} s] {text}", file=sys.stderr, flush=True)


def other(node: str) -> str:
    return "b" if node == "a" else "a"


def build_package(revision: int = 1) -> Path:
    """The package of this checkout; built when it is not there."""
    done = subprocess.run(
        [ROOT / "packaging/build.sh"],
        env={**os.environ, "REVISION": str(revision)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PACKAGE_BOUND_S,
        check=True,
    )
    return ROOT / done.stdout.strip().splitlines()[-1]


def _digest(files: Sequence[Path]) -> str:
    """Of all that the guests are given."""
    total = hashlib.sha256()
    for path in [*files, *sorted(p for p in PROGRAMS.rglob("*") if p.is_file())]:
        total.update(path.name.encode() + b"\n" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


class Pair:
    """Made once for a run of tests; each test leaves both nodes up and the module in peace."""

    def __init__(self, extra: Sequence[Path] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="twofold-vm-"))
        try:
            base = image()
            self.payload = self._payload([build_package(), *extra])
            self.network = Network(NODES)
            self.guests = {
                n: Guest(n, base, self.payload, self.network, self.folder) for n in NODES
            }
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _payload(self, files: Sequence[Path]) -> Path:
        """A disk with what the guests need from here: no copying over an emulated network card."""
        tree, disk = self.folder / "payload", self.folder / "payload.img"
        self.payload_digest = _digest(files)
        tree.mkdir()
        for path in [*files, *PROGRAMS.iterdir()]:
            if path.is_dir():
                shutil.copytree(path, tree / path.name)
            else:
                shutil.copy(path, tree)
        size_mib = (
            64 + sum(p.stat().st_size for p in tree.rglob("*") if p.is_file()) * 5 // 4 // 2**20
        )
        make = ["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, f"{size_mib}M"]
        subprocess.run(make, check=True, timeout=120, capture_output=True)
        shutil.rmtree(tree)
        return disk

    def __getitem__(self, node: str) -> Guest:
        return self.guests[node]

    # ---- boot and installation --------------------------------------------------------------

    def boot(self) -> None:
        progress("boot")
        for guest in self.guests.values():
            guest.power_on()
        for guest in self.guests.values():
            guest.connect()
        self.both("resize2fs /dev/vda")
        self.both("mkdir -p /payload && mount -o ro /dev/vdb /payload")
        self.both("echo '/dev/vdb /payload ext4 ro,nofail 0 0' >>/etc/fstab")

    def both(self, command: str, timeout_s: float = 300.0) -> list[str]:
        """The same command in both guests at once."""
        with ThreadPoolExecutor(len(NODES)) as pool:
            asked = [pool.submit(self[n].run, command, timeout_s) for n in NODES]
            return [each.result() for each in asked]

    def install(self) -> None:
        """The package, by dpkg, as docs/guides/install.md says; the daemon runs afterwards."""
        progress("install the package")
        self.both("dpkg -i /payload/twofold_*.deb", timeout_s=600)
        for node in NODES:
            wait_until(f"twofoldd answers on {node}", lambda n=node: self.answers(n), 180, 1.0)
        # The console's process takes a minute of an emulated processor at each boot, unused here.
        self.both("systemctl disable -q --now twofold-web")

    def form(self) -> None:
        """`cluster init` on a, `cluster join` on b, as docs/guides/first-cluster.md says."""
        progress("form the cluster")
        words = "--network lan=10.77.0.{n} --network flow=10.77.1.{n}"
        made = json.loads(self["a"].run(f"twofold cluster init --json {words.format(n=1)}"))
        self.set_heartbeat()
        join = f"twofold cluster join {ADDRESSES['a']} --token {made['token']}"
        wait_until("a admits nodes", lambda: self.network.reaches(ADDRESSES["a"], 9011), 90)
        self["b"].run(f"{join} {words.format(n=2)}")
        wait_until("the nodes hear each other", self._meet, 120)

    def set_heartbeat(self) -> None:
        """On a, which is alone in its cluster yet; whoever joins gets it with the rest."""
        lines = f'interval = "{HEARTBEAT_INTERVAL}"\\ntimeout = "{HEARTBEAT_TIMEOUT}"'
        edit = f"/^.heartbeat.$/,/^$/{{/^interval/d; s/^timeout = .*/{lines}/}}"
        self["a"].run(f"sed -i '{edit}' {CLUSTER_FILE} && systemctl restart twofoldd")
        assert lines.replace("\\n", "\n") in self["a"].run(f"cat {CLUSTER_FILE}")
        wait_until("twofoldd answers on a", lambda: self.answers("a"), 180, 1.0)

    def is_formed(self) -> bool:
        return self["b"].try_run(f"test -e {CLUSTER_FILE}").returncode == 0

    def answers(self, node: str) -> bool:
        return self[node].ask("cluster_state") is not None

    def _meet(self) -> bool:
        for node in NODES:
            answer = self[node].ask("state", nodes=["*"]) or {}
            if sum(bool(each.get("reachable")) for each in answer.get("answers", [])) != len(NODES):
                return False
        return True

    def back(self, node: str) -> None:
        """Power on again, until the node's daemon answers."""
        self[node].power_on()
        self[node].connect()
        wait_until(f"twofoldd answers on {node}", lambda: self.answers(node), 180, 1.0)

    # ---- looking ----------------------------------------------------------------------------

    def state(self, node: str, module: str) -> dict[str, Any]:
        answer = self[node].ask("state", module=module) or {}
        modules: list[dict[str, Any]] = answer.get("modules", [])
        mine = [each for each in modules if each.get("module") == module]
        return mine[0] if mine else {}

    def shown(self, module: str) -> str:
        found = {n: self.state(n, module) for n in NODES}
        return "; ".join(
            f"{n}: {s.get('state', 'no answer')} {s.get('readiness', '')} ({s.get('sentence', '')})"
            for n, s in found.items()
        )

    def serves(self, node: str, module: str) -> bool:
        found = self.state(node, module)
        return found.get("state") in _SERVING and found.get("readiness") == "Ready"

    def primary(self, module: str) -> str:
        serving = [n for n in NODES if self.state(n, module).get("state") in _SERVING]
        if len(serving) != 1:
            raise GuestFailed(f"{len(serving)} nodes serve {module}: {self.shown(module)}")
        return serving[0]

    def both_ready(self, module: str) -> bool:
        found = [self.state(n, module) for n in NODES]
        states = sorted(str(each.get("state")) for each in found)
        return states == ["PRIM", "SECOND"] and all(s.get("readiness") == "Ready" for s in found)

    def wait_serves(self, node: str, module: str, timeout_s: float = READY_BOUND_S) -> float:
        return self._wait(
            f"{node} serves {module}", lambda: self.serves(node, module), module, timeout_s
        )

    def wait_both_ready(self, module: str, timeout_s: float = READY_BOUND_S) -> float:
        what = f"{module} is PRIM and SECOND, both Ready"
        return self._wait(what, lambda: self.both_ready(module), module, timeout_s)

    def _wait(self, what: str, holds: Any, module: str, timeout_s: float) -> float:
        try:
            return wait_until(what, holds, timeout_s, 1.0)
        except GuestFailed as failed:
            raise GuestFailed(f"{failed}: {self.shown(module)}") from None

    # ---- the end ----------------------------------------------------------------------------

    def keep_logs(self, name: str) -> Path:
        """Consoles, journals, and what the daemons decided, of the guests that still answer."""
        place = LOGS / name
        place.mkdir(parents=True, exist_ok=True)
        commands = {
            "journal": "journalctl -b -o short-monotonic --no-pager | tail -n 3000",
            "journal-before": "journalctl -b -1 -o short-monotonic --no-pager | tail -n 1500",
            "decided": "twofold log -n 300",
            "state": "twofold state",
            "run": "tail -n 200 /run/twofold/*/*.log /run/twofold/*/services/*.log",
        }
        for node, guest in self.guests.items():
            if guest.serial.exists():
                shutil.copy(guest.serial, place / f"{node}.console")
            for what, command in commands.items():
                if guest.is_on:
                    done = guest.try_run(command, timeout_s=60)
                    (place / f"{node}.{what}").write_text(done.stdout + done.stderr)
        return place

    def close(self) -> None:
        for guest in self.guests.values():
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                guest.power_cut()
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)
