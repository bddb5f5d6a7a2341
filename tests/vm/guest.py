"""One guest: a qemu process with a disk of its own, reached by ssh over the lan and by the
daemon's socket.

The processor is emulated (`tcg`), so that nothing but qemu is needed and the guest's own kernel
is Debian's; it is some ten times slower than this machine. A power cut is SIGKILL of qemu with a
disk in `cache=writeback`: what the guest had flushed, or only handed to its disk, is in the
image; what its kernel still kept is gone.

Every wait has a bound, for a machine that has two cores to spare; `TWOFOLD_VM_PATIENCE=3` makes all
of them three times as long. qemu and ssh end with the test runner, whatever happens to it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.errors import TwofoldError
from twofold.wire import lines

from .image import Image
from .monitor import Monitor
from .network import NETWORKS, Network, dies_with_us, tap

PATIENCE = float(os.environ.get("TWOFOLD_VM_PATIENCE", "1"))
MEMORY_MIB = 2304  # the installer wants 2 GiB
DISK_SIZE = "24G"  # and a disk with room; the overlay is sparse
BOOT_BOUND_S = 420.0
COMMAND_BOUND_S = 300.0
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
NUMBERS = {"a": 1, "b": 2}
SSH_PORT = 22
_SLOTS = {"lan": 8, "flow": 9}
_WATCHDOG_SLOT = 10
# What takes seconds of an emulated processor at each boot and is of no use in a guest: its cards
# are there before the first unit (the initrd has their drivers), nobody logs in, nothing is traced.
_MASKED = (
    *("systemd-udev-settle", "systemd-binfmt", "e2scrub_reap", "systemd-update-utmp"),
    *("systemd-update-utmp-runlevel", "modprobe@efi_pstore", "systemd-pstore", "modprobe@drm"),
)
_MASKED_MOUNTS = ("sys-kernel-debug", "sys-kernel-tracing", "dev-mqueue", "dev-hugepages")
_SOCKET = "/run/twofold/twofoldd.sock"
_SSH_OPTIONS = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-o", "BatchMode=yes"),
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6"),
)


class GuestFailed(AssertionError):
    """A command in the guest failed, or the guest did not do what was waited for."""


def wait_until(
    what: str, holds: Callable[[], bool], timeout_s: float, pause_s: float = 0.2
) -> float:
    """Seconds until it held; `GuestFailed` when it does not in time."""
    begun = time.monotonic()
    timeout_s *= PATIENCE
    while not holds():
        if time.monotonic() - begun > timeout_s:
            raise GuestFailed(f"after {timeout_s:.0f} s it is still not so that {what}")
        time.sleep(pause_s)
    return time.monotonic() - begun


def _masked() -> str:
    units = [f"{name}.service" for name in _MASKED] + [f"{name}.mount" for name in _MASKED_MOUNTS]
    return " ".join(f"systemd.mask={unit}" for unit in units)


class Guest:
    def __init__(
        self, name: str, image: Image, payload: Path, network: Network, folder: Path
    ) -> None:
        self.name = name
        self.address = ADDRESSES[name]
        self.disk = folder / f"{name}.qcow2"
        self.serial = folder / f"{name}.serial"
        self._qmp = folder / f"{name}.qmp"
        self._image, self._payload, self._network = image, payload, network
        self._control = folder / f"{name}.ssh"
        self._forwarded = folder / f"{name}.sock"
        self._machine: subprocess.Popen[bytes] | None = None
        self._master: subprocess.Popen[bytes] | None = None

    # ---- power ------------------------------------------------------------------------------

    def power_on(self, kept: str | None = None) -> None:
        """`kept`: not a boot, but what the disk keeps under this name, paused."""
        if not self.disk.exists():
            make = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"]
            base = ["-b", str(self._image.disk)]
            subprocess.run([*make, *base, self.disk, DISK_SIZE], check=True, timeout=60)
        self._qmp.unlink(missing_ok=True)  # of the machine that was on before
        words = self._qemu() + (["-S", "-loadvm", kept] if kept else [])
        with self.serial.open("ab") as log:
            self._machine = self._network.popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, own_session=True
            )

    def monitor(self) -> Monitor:
        """qemu makes its socket first, and answers when what was kept is loaded."""
        wait_until(
            f"qemu {self.name} answers", lambda: self._qmp.exists() or not self.is_on, 60, 0.1
        )
        return Monitor(self._qmp)

    def _qemu(self) -> list[str]:
        identity = hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()
        kernel_words = (
            "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off panic=5 "
            f"{_masked()} systemd.machine_id={identity} "
            f"vm.name={self.name} vm.number={NUMBERS[self.name]}"
        )
        words = ["qemu-system-x86_64", "-name", f"twofold-vm-{self.name}", "-nodefaults"]
        words += ["-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "1"]
        words += ["-m", str(MEMORY_MIB), "-display", "none", "-serial", "stdio"]
        words += ["-qmp", f"unix:{self._qmp},server=on,wait=off"]
        words += ["-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)]
        words += ["-append", kernel_words, "-device", "virtio-rng-pci"]
        words += [
            "-drive",
            f"file={self.disk},if=virtio,format=qcow2,cache=writeback,discard=unmap",
        ]
        words += ["-drive", f"file={self._payload},if=virtio,format=raw,readonly=on"]
        # Nobody feeds it until a test asks for that; Debian's kernel has its driver.
        words += ["-device", f"i6300esb,addr={_WATCHDOG_SLOT}", "-watchdog-action", "reset"]
        for number, network in enumerate(NETWORKS):
            mac = f"02:77:00:00:0{number}:0{NUMBERS[self.name]}"
            end = f"tap,id={network},ifname={tap(self.name, network)},script=no,downscript=no"
            words += ["-netdev", end, "-device"]
            words += [f"virtio-net-pci,netdev={network},mac={mac},addr={_SLOTS[network]}"]
        return words

    @property
    def is_on(self) -> bool:
        return self._machine is not None and self._machine.poll() is None

    def power_cut(self) -> None:
        """Without warning: what the guest's kernel had not handed to its disk is gone."""
        if self._machine is not None:
            self._machine.kill()
            self._machine.wait(timeout=30)
        self.hang_up()

    def wait_off(self, timeout_s: float) -> float:
        """Until the guest has switched itself off; seconds."""
        took = wait_until(f"guest {self.name} is off", lambda: not self.is_on, timeout_s)
        self.hang_up()
        return took

    # ---- ssh --------------------------------------------------------------------------------

    def connect(self, timeout_s: float = BOOT_BOUND_S) -> float:
        """One ssh connection that everything else shares; seconds until the guest answered."""
        begun = time.monotonic()
        timeout_s *= PATIENCE
        while True:
            self.hang_up()
            master = ["ssh", "-M", "-N", "-S", str(self._control), "-i", str(self._image.key)]
            self._master = self._network.popen(
                [*master, *_SSH_OPTIONS, f"root@{self.address}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while self._master.poll() is None and not self._control.exists():
                if time.monotonic() - begun > timeout_s:
                    break
                time.sleep(0.1)
            if self._master.poll() is None and self._control.exists():
                return time.monotonic() - begun
            if not self.is_on:
                raise GuestFailed(f"guest {self.name} ended; its console: {self.serial}")
            if time.monotonic() - begun > timeout_s:
                raise GuestFailed(
                    f"guest {self.name} does not answer ssh after {timeout_s:.0f} s; "
                    f"its console: {self.serial}"
                )
            time.sleep(0.5)

    def hang_up(self) -> None:
        if self._master is not None:
            self._master.kill()
            self._master.wait(timeout=10)
            self._master = None
        self._control.unlink(missing_ok=True)
        self._forwarded.unlink(missing_ok=True)

    def argv(self, command: str) -> list[str]:
        """The words that run a shell command in the guest over the shared connection."""
        return ["ssh", "-S", str(self._control), *_SSH_OPTIONS, f"root@{self.address}", command]

    def try_run(
        self, command: str, timeout_s: float = COMMAND_BOUND_S, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        timeout_s *= PATIENCE
        try:
            return subprocess.run(
                self.argv(command), input=stdin, capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(
                [command], 255, "", f"no end after {timeout_s:.0f} s"
            )

    def run(self, command: str, timeout_s: float = COMMAND_BOUND_S, stdin: str = "") -> str:
        done = self.try_run(command, timeout_s, stdin)
        if done.returncode != 0:
            raise GuestFailed(
                f"on {self.name}, `{command}` ended with {done.returncode}:\n"
                f"{done.stdout}{done.stderr}".rstrip()
            )
        return done.stdout

    def popen(self, command: str) -> subprocess.Popen[bytes]:
        """A program that reports on its standard output and ends with its standard input."""
        argv = dies_with_us(self.argv(command))
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def put(self, path: str, text: str, mode: str = "644") -> None:
        quoted = shlex.quote(path)
        self.run(
            f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode} {quoted}", stdin=text
        )

    def wait_booted(self, before: str, timeout_s: float) -> None:
        """Until it runs with another boot id. A machine that goes down answers ssh for a while."""

        def is_another() -> bool:
            self.connect(timeout_s)
            said = self.try_run("cat /proc/sys/kernel/random/boot_id", timeout_s=30)
            return said.returncode == 0 and said.stdout.strip() != before

        wait_until(f"guest {self.name} has booted again", is_another, timeout_s, 3.0)

    def boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()

    # ---- the daemon -------------------------------------------------------------------------

    def ask(self, command: str, **fields: Any) -> dict[str, Any] | None:
        """The daemon's own answer, over its local socket; None while it does not answer."""
        if not self._control.exists():
            return None
        if not self._forwarded.exists():
            words = ["-O", "forward", "-L", f"{self._forwarded}:{_SOCKET}"]
            argv = ["ssh", "-S", str(self._control), *words, self.address]
            subprocess.run(argv, capture_output=True, timeout=30)
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(15.0)
                link.connect(str(self._forwarded))
                link.sendall(lines.request(1, {"command": command, **fields}))
                with link.makefile("rb") as answer:
                    return lines.decode_reply(answer.readline(), 1)
        except (OSError, TwofoldError):
            return None
