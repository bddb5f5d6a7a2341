"""What this machine must have for a lab, said at once and with the mend.

Nothing is started before everything needed is known to be there: a lab that fails half-way
teaches nobody anything.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twofold.errors import MissingRequirement
from twofold.requirements import LAB, missing

KINE_MODULE = "github.com/k3s-io/kine"
KINE_VERSION = "v0.16.4"

_PACKAGES = {
    "bridge": "iproute2",
    "losetup": "mount",
    "nsenter": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}

_SYSTEM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """Where a program is; also looks where an ordinary user's PATH does not."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":" + _SYSTEM_DIRECTORIES)


def _missing_programs(names: list[str]) -> list[str]:
    lines: list[str] = []
    for name in names:
        if find_program(name) is None:
            package = _PACKAGES.get(name, name)
            lines.append(f"The program {name} is missing: apt-get install {package}")
    return lines


def lab_lacks(file_system: str) -> list[str]:
    """One sentence for each thing a lab needs that is not here."""
    # Without root most other questions cannot even be asked.
    if os.geteuid() != 0:
        return ["The lab makes namespaces and mounts, and that needs root: run it with sudo."]
    lacks = [f"missing: {finding.sentence()}" for finding in missing(LAB)]
    lacks += _missing_programs(["bridge", "losetup", "nsenter", f"mkfs.{file_system}"])
    if not Path("/dev/loop-control").exists():
        lacks.append("/dev/loop-control is missing: run `modprobe loop`.")
    known = Path("/proc/filesystems").read_text().split()
    if "overlay" not in known:
        lacks.append("The kernel has no overlay file system: run `modprobe overlay`.")
    return lacks


def kine_folder() -> Path:
    """Where a kine of our own lies: in the checkout, or in the user's cache when installed."""
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").exists():
        return checkout / ".cache/bin"
    return Path.home() / ".cache/twofold/bin"


def find_go() -> Path | None:
    """Go, also where its own archive puts it."""
    found = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    return Path(found) if found else None


def find_kine() -> Path | None:
    """kine, in the order: TWOFOLD_KINE, a folder of our own, PATH, Go's own place."""
    named = os.environ.get("TWOFOLD_KINE")
    candidates = [Path(named)] if named else []
    candidates += [kine_folder() / "kine"]
    on_path = shutil.which("kine")
    candidates += [Path(on_path)] if on_path else []
    candidates += [Path.home() / "go/bin/kine"]
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def kine_lacks() -> list[str]:
    lacks = _missing_programs(["mariadbd", "mariadb-install-db"])
    if find_kine() is None:
        lacks.append(
            f"kine is missing, and without Go it cannot be built: install Go (`go version` shows "
            f"which is here) or name a kine {KINE_VERSION} in TWOFOLD_KINE"
        )
    try:
        import grpc  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        lacks.append("The Python package grpcio is missing: .venv/bin/pip install grpcio")
    return lacks


def require(lacks: list[str]) -> None:
    if lacks:
        raise MissingRequirement("\n".join(lacks))
