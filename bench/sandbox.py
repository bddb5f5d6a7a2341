"""Where the comparison lives: two nodes' disks and networks, and nothing outside of them.

`enter` starts the bench again inside new mount and process namespaces; what is made in there ends
with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INSIDE = "TWOFOLD_BENCH_INSIDE"
DISK_MIB = 2560
ADDRESSES = {"a": "10.79.0.1", "b": "10.79.0.2"}


def run(*command: str | Path, timeout_s: float = 60) -> str:
    """A command that must succeed; its words are the error otherwise."""
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        words = " ".join(str(c) for c in command)
        raise RuntimeError(f"`{words}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def enter(arguments: Sequence[str]) -> int:
    """Run this program again in its own namespaces and give its exit code.

    With the outer process everything inside ends, also where that one is told to (SIGTERM):
    `unshare` itself does not hear of it.
    """
    command = ["unshare", "--mount", "--propagation=private", "--pid", "--fork"]
    command += ["--kill-child", "--mount-proc", sys.executable, "-m", "bench", *arguments]
    inside = subprocess.Popen(command, env={**os.environ, INSIDE: "1"})
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return inside.wait()
    finally:
        inside.kill()
        inside.wait()


@dataclass(frozen=True)
class Node:
    """One server: a disk, and a network namespace in which its programs are started."""

    name: str
    disk: Path
    address: str

    def command(self, *words: str | Path) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.name}", *(str(w) for w in words)]

    def run(self, *words: str | Path, timeout_s: float = 60) -> str:
        return run(*self.command(*words), timeout_s=timeout_s)

    def start(
        self, *words: str | Path, log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as sink:
            return subprocess.Popen(
                self.command(*words),
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )


def build(work: Path, *, images: bool) -> dict[str, Node]:
    """Disks and network of both nodes, under `work`.

    By default both nodes have a directory each on one file system: two fsyncs at the same time
    then share a journal commit and cost what one costs, as on two servers with a disk each. With
    `images` each node has a file system of its own in a file; on one physical disk their flushes
    stand in line, which two servers' do not.
    """
    work.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/netns").mkdir()
    nodes = {n: Node(n, work / f"disk-{n}", ADDRESSES[n]) for n in ("a", "b")}
    for node in nodes.values():
        shutil.rmtree(node.disk, ignore_errors=True)
        node.disk.mkdir()
        if images:
            _mount_image(work / f"{node.name}.img", node)
        run("ip", "netns", "add", node.name)
    a, b = nodes["a"], nodes["b"]
    a.run("ip", "link", "add", "flow", "type", "veth", "peer", "name", "flow", "netns", "b")
    for node in (a, b):
        node.run("ip", "address", "add", f"{node.address}/24", "dev", "flow")
        node.run("ip", "link", "set", "lo", "up")
        node.run("ip", "link", "set", "flow", "up")
    return nodes


def _mount_image(image: Path, node: Node) -> None:
    # Written through once: a sparse image would make the first subject pay for its allocation.
    if not image.exists() or image.stat().st_size != DISK_MIB << 20:
        print(f"bench: preparing the disk of node {node.name} ({DISK_MIB} MiB)", flush=True)
        size = f"count={DISK_MIB}"
        run("dd", "if=/dev/zero", f"of={image}", "bs=1M", size, "conv=fsync", timeout_s=300)
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    device = run("losetup", "--find", "--show", "--direct-io=on", image).strip()
    run("mount", device, node.disk)
    run("losetup", "--detach", device)  # from now on the kernel frees it with the last mount


def clear(nodes: Mapping[str, Node]) -> None:
    """Everything is unmounted with the sandbox; the files of several hundred MiB go now."""
    for node in nodes.values():
        shutil.rmtree(node.disk, ignore_errors=True)
