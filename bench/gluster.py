"""The peer we compare with: GlusterFS replica 2 as Debian ships it, default options, no encryption.

Each node's glusterd has private /run, /var/lib/glusterd and /var/log/glusterfs, so that two live on
one machine and one that the machine may have of its own is not touched. Its client mounts on node
a, as an application would.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.sandbox import Node, run

PRIVATE = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib/glusterd
mount -t tmpfs tmpfs /var/log/glusterfs
mkdir -p /run/gluster
exec glusterd --no-daemon --log-level WARNING --pid-file /run/glusterd.pid
"""
VOLUME = "bench"


class Gluster:
    """Started once; `path` is the mount."""

    def __init__(self, nodes: dict[str, Node], work: Path) -> None:
        self.path = work / "gluster"
        self._nodes = nodes
        self._work = work
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def _cli(self, *words: str) -> str:
        """A gluster command as said on node a."""
        pid = str(self._daemons["a"].pid)
        shell = ["nsenter", "--target", pid, "--mount", "--net", "gluster", "--mode=script"]
        return run(*shell, *words)

    def _until(self, what: str, *words: str, holds: str = "") -> None:
        """Repeat a command until it succeeds and says `holds`, for at most 30 s."""
        deadline_s = time.monotonic() + 30
        while True:
            try:
                said = self._cli(*words)
                if holds in said:
                    return
            except RuntimeError as error:
                said = str(error)
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"GlusterFS: {what} did not come true in 30 s: {said}")
            time.sleep(0.2)

    def start(self) -> None:
        for folder in ("/var/lib/glusterd", "/var/log/glusterfs"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        for name, node in self._nodes.items():
            (node.disk / "brick").mkdir()
            self._daemons[name] = node.start(
                "unshare", "--mount", "sh", "-c", PRIVATE, log=self._work / f"glusterd-{name}.log"
            )
        a, b = self._nodes["a"], self._nodes["b"]
        self._until("the answer of node a", "peer", "status")
        self._until("the join of node b", "peer", "probe", b.address)
        self._until("the join of node b", "peer", "status", holds="(Connected)")
        bricks = [f"{n.address}:{n.disk / 'brick'}" for n in (a, b)]
        self._cli("volume", "create", VOLUME, "replica", "2", *bricks, "force")
        self._cli("volume", "start", VOLUME)
        self._until("the start of both bricks", "volume", "status", VOLUME)
        self.path.mkdir(exist_ok=True)
        server = f"--volfile-server={a.address}"
        log = self._work / "gluster-client.log"
        a.run("glusterfs", server, f"--volfile-id={VOLUME}", f"--log-file={log}", self.path)
        self._both_bricks_take_writes()

    def _both_bricks_take_writes(self) -> None:
        """A volume that writes to one brick only would look twice as fast as it is."""
        probe = self.path / "probe"
        deadline_s = time.monotonic() + 30
        while True:
            probe.write_bytes(b"both?")
            copies = [n.disk / "brick" / "probe" for n in self._nodes.values()]
            if all(c.exists() and c.read_bytes() == b"both?" for c in copies):
                return
            if time.monotonic() > deadline_s:
                raise RuntimeError("GlusterFS does not write to both bricks after 30 s")
            time.sleep(0.2)
            probe.unlink()
