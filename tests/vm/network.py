"""The cables between the guests: two bridges in a network namespace of their own, a tap for each
guest's card.

    lan    10.77.0.0/24   a .1, b .2, the client .9; the virtual addresses from .100
    flow   10.77.1.0/24   a and b only: the replication cable

The client of the proofs is this namespace: what is started in it with `argv_in` reaches the
guests and the virtual address over the lan, and runs at this machine's own speed. The namespace
lives as long as a process of ours does, which the kernel ends when the test runner ends, however
that may be; nothing of it has a name elsewhere.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

NETWORKS = ("lan", "flow")
CLIENT = "10.77.0.9"
CLIENT_MAC = "02:77:00:00:00:09"
VIRTUAL = "10.77.0.100"


def dies_with_us(argv: Sequence[str]) -> list[str]:
    """The command, killed by the kernel when the thread that started it ends: start it from the
    main thread.
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


class Network:
    def __init__(self, guests: Sequence[str]) -> None:
        self._holder = subprocess.Popen(
            dies_with_us(["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"]),
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError("no network namespace could be made here (root is needed)")
        self._ip("link set lo up")
        for network in NETWORKS:
            self._ip(f"link add {network} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
            self._ip(f"link set {network} up")
            for guest in guests:
                end = tap(guest, network)
                self._ip(f"tuntap add dev {end} mode tap")
                self._ip(f"link set {end} master {network}")
                self._ip(f"link set {end} up")
        # The same in every run: a kept pair remembers it.
        self._ip(f"link set lan address {CLIENT_MAC}")
        self._ip(f"address add {CLIENT}/24 brd + dev lan")

    def argv_in(self, argv: Sequence[str]) -> list[str]:
        """The command inside the namespace."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--", *argv]

    def run(self, *argv: str, timeout_s: float = 30.0) -> str:
        done = subprocess.run(self.argv_in(argv), capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def popen(
        self,
        argv: Sequence[str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] | None = None,
        own_session: bool = False,
    ) -> subprocess.Popen[bytes]:
        """The command inside the namespace, running; it ends with us at the latest. With a session
        of its own it has a share of the processors of its own, beside other work on this machine.
        """
        inside = dies_with_us(self.argv_in(argv))
        return subprocess.Popen(
            inside, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=own_session
        )

    def cut(self, guest: str, network: str) -> None:
        """No frame passes any more; the guest's card still sees its carrier, as behind a dead
        switch.
        """
        self._ip(f"link set {tap(guest, network)} down")

    def plug(self, guest: str, network: str) -> None:
        self._ip(f"link set {tap(guest, network)} up")

    def reaches(self, address: str, port: int) -> bool:
        """Whether the client can connect: asked from inside, without a shell's help."""
        program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
        argv = self.argv_in(["python3", "-c", program, address, str(port)])
        return subprocess.run(argv, capture_output=True, timeout=20).returncode == 0

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(timeout=10)
        # Taps vanish with the namespace, a moment after the last process in it.
        deadline = time.monotonic() + 5
        while Path(f"/proc/{self._holder.pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _ip(self, words: str) -> None:
        self.run("ip", *words.split())


def tap(guest: str, network: str) -> str:
    return f"{guest}-{network}"
