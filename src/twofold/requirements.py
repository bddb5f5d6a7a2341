"""What a machine must have to run Twofold, as a list: each requirement with its mend.

Three readers share it: `make setup` (before anything is installed, so this file imports the
standard library only and stays readable for an older Python), the lab, and `twofold doctor`.
`REQUIREMENTS` is data, `judge` is pure, `probe` reads the machine and changes nothing (it may load
the fuse module).

As a program, `python3 src/twofold/requirements.py [setup|run|lab]` prints what is missing and
exits 1.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Needed by: building from a checkout, running a node, running the lab.
SETUP, RUN, LAB = "setup", "run", "lab"
PURPOSES = (SETUP, RUN, LAB)

OLDEST_KERNEL = (5, 15)
OLDEST_PYTHON = (3, 11)
SETUP_FREE_MIB = 4096  # a Rust build in release mode, its registry, and the Python environment
RUN_FREE_MIB = 256

_CAP_SYS_ADMIN, _CAP_NET_ADMIN, _CAP_NET_RAW = 21, 12, 13


@dataclass(frozen=True)
class Machine:
    """Everything the requirements look at, read once."""

    uid: int
    capabilities: int
    system: str
    kernel: str
    python: tuple[int, int]
    fuse: str  # "ok", "absent" or "refused: ..."
    namespaces: str  # "ok" or why a network namespace cannot be made
    free_mib: int
    free_where: str
    has_ip_command: bool
    has_apt: bool


@dataclass(frozen=True)
class Requirement:
    """One line of the list. `met` looks at the machine; `found` says what is there instead."""

    name: str
    purposes: tuple[str, ...]
    met: Callable[[Machine], bool]
    found: Callable[[Machine], str]
    mend: str


@dataclass(frozen=True)
class Finding:
    """A requirement compared with a machine."""

    name: str
    ok: bool
    found: str
    mend: str

    def sentence(self) -> str:
        if self.ok:
            return f"{self.name}: {self.found}"
        return f"{self.name}: {self.found}. {self.mend}"


def kernel_version(release: str) -> tuple[int, int]:
    """(6, 18) of "6.18.44-fc-v769"; (0, 0) when it cannot be read."""
    parts = release.split(".")
    try:
        return int(parts[0]), int("".join(c for c in parts[1].split("-")[0] if c.isdigit()))
    except (IndexError, ValueError):
        return 0, 0


def _has_capabilities(machine: Machine) -> bool:
    needed = (1 << _CAP_SYS_ADMIN) | (1 << _CAP_NET_ADMIN) | (1 << _CAP_NET_RAW)
    return machine.capabilities & needed == needed


def _free_needed_mib(purpose: str) -> int:
    return SETUP_FREE_MIB if purpose == SETUP else RUN_FREE_MIB


def _free(purpose: str) -> Requirement:
    needed_mib = _free_needed_mib(purpose)
    return Requirement(
        "free disk space",
        (purpose,),
        lambda m: m.free_mib >= needed_mib,
        lambda m: f"{m.free_mib} MiB free in {m.free_where}",
        f"Free some space, {needed_mib} MiB are needed.",
    )


REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(
        "Linux",
        PURPOSES,
        lambda m: m.system == "Linux",
        lambda m: f"this is {m.system}",
        "Twofold runs on Linux only; use a Linux machine or a virtual one.",
    ),
    Requirement(
        "root",
        PURPOSES,
        lambda m: m.uid == 0,
        lambda m: "running as root" if m.uid == 0 else f"running as user id {m.uid}",
        "Run the same command with sudo, or from a root shell.",
    ),
    Requirement(
        "administrator capabilities",
        (RUN, LAB),
        lambda m: m.uid != 0 or _has_capabilities(m),
        lambda m: (
            "present" if _has_capabilities(m) else "CAP_SYS_ADMIN or CAP_NET_ADMIN is missing"
        ),
        "Leave the container, or start it with --privileged.",
    ),
    Requirement(
        "kernel",
        PURPOSES,
        lambda m: kernel_version(m.kernel) >= OLDEST_KERNEL,
        lambda m: f"Linux {m.kernel}",
        "Linux 5.15 or newer is needed: upgrade to Debian 12, Ubuntu 22.04 or newer.",
    ),
    Requirement(
        "Python",
        PURPOSES,
        lambda m: m.python >= OLDEST_PYTHON,
        lambda m: f"Python {m.python[0]}.{m.python[1]}",
        "Python 3.11 or newer is needed: apt-get install python3.11 python3.11-venv, "
        "then make setup PYTHON=python3.11.",
    ),
    Requirement(
        "/dev/fuse",
        PURPOSES,
        lambda m: m.fuse == "ok",
        lambda m: {"ok": "present", "absent": "not there"}.get(m.fuse, m.fuse),
        "Load it with: modprobe fuse. In a container, pass the device: --device /dev/fuse.",
    ),
    Requirement(
        "network namespaces",
        (LAB,),
        lambda m: m.namespaces == "ok",
        lambda m: "can be made" if m.namespaces == "ok" else m.namespaces,
        "The lab needs them: run on the machine itself or in a privileged container.",
    ),
    Requirement(
        "the ip command",
        (LAB,),
        lambda m: m.has_ip_command,
        lambda m: "present" if m.has_ip_command else "not found",
        "Install it with: apt-get install iproute2.",
    ),
    Requirement(
        "apt-get",
        (SETUP,),
        lambda m: m.has_apt,
        lambda m: "present" if m.has_apt else "not found",
        "make setup knows Debian and Ubuntu; elsewhere install by hand the packages it names.",
    ),
    _free(SETUP),
    _free(RUN),
)


def judge(machine: Machine, purpose: str) -> list[Finding]:
    """Every requirement of one purpose compared with the machine, in the order of the list."""
    return [
        Finding(r.name, r.met(machine), r.found(machine), r.mend)
        for r in REQUIREMENTS
        if purpose in r.purposes
    ]


def missing(purpose: str, where: str = "/var/lib") -> list[Finding]:
    """What this machine lacks for one purpose; empty when all is well."""
    return [finding for finding in judge(probe(where), purpose) if not finding.ok]


def probe(where: str = "/var/lib") -> Machine:
    """Read this machine. `where` is the directory whose free space counts."""
    free_where = where
    while not Path(free_where).is_dir():
        free_where = str(Path(free_where).parent)
    return Machine(
        uid=os.geteuid(),
        capabilities=_effective_capabilities(),
        system=platform.system(),
        kernel=platform.release(),
        python=(sys.version_info[0], sys.version_info[1]),
        fuse=_probe_fuse(),
        namespaces=_probe_namespace(),
        free_mib=shutil.disk_usage(free_where).free >> 20,
        free_where=free_where,
        has_ip_command=shutil.which("ip", path=_search_path()) is not None,
        has_apt=shutil.which("apt-get", path=_search_path()) is not None,
    )


def _search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"


def _effective_capabilities() -> int:
    try:
        with Path("/proc/self/status").open(encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return 0


def _probe_fuse() -> str:
    if not Path("/dev/fuse").exists() and os.geteuid() == 0:
        _run_quietly(["modprobe", "fuse"])
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return "ok"


def _probe_namespace() -> str:
    """Make a network namespace in a child that ends at once; nothing stays behind."""
    clone_newnet = 0x40000000
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(clone_newnet) == 0 else min(ctypes.get_errno(), 125))
    error = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "ok" if error == 0 else f"cannot be made ({os.strerror(error)})"


def _run_quietly(command: list[str]) -> int | None:
    try:
        return subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None


def main(arguments: list[str]) -> int:
    """Print what is missing, one sentence a line; 0 when nothing is."""
    purpose = arguments[0] if arguments else RUN
    if purpose not in PURPOSES:
        sys.stderr.write(f"{purpose} is none of: {', '.join(PURPOSES)}\n")
        return 2
    lacking = missing(purpose, str(Path.cwd()) if purpose == SETUP else "/var/lib")
    for finding in lacking:
        sys.stderr.write(f"missing: {finding.sentence()}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
