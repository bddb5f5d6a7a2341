"""A node's disk: an image file, the loop device over it, the file system in it.

A loop device is released by the kernel itself with its last user (`losetup -d` on a mounted device
only marks it): a lab that was left behind by a crash frees its devices as soon as its processes are
gone. The same image is never attached twice, because two mounts of one disk destroy it.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from twofold.errors import MachineError

from .requirements import find_program


def run(*argv: str | Path, timeout_s: float = 60.0) -> str:
    """Run a program of the system; its last words are in the error."""
    words = [str(word) for word in argv]
    program = find_program(words[0]) or words[0]
    done = subprocess.run(
        [program, *words[1:]], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise MachineError(f"`{' '.join(words)}` failed: {said}")
    return done.stdout


def make_image(path: Path, file_system: str, size_bytes: int) -> None:
    """A sparse image file with an empty file system."""
    with path.open("xb") as image:
        image.truncate(size_bytes)
    if file_system == "xfs":
        run("mkfs.xfs", "-q", "-f", path)
    else:
        # The file is all zeros already, so the tables need not be written now.
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", path)


def mount_options(file_system: str) -> str:
    return "noinit_itable" if file_system == "ext4" else ""


def devices_of(image: Path) -> list[str]:
    out = run("losetup", "--noheadings", "--output", "NAME", "--associated", image)
    return out.split()


def attach(image: Path) -> str:
    """A fresh loop device over the image. Refused while another one still holds it."""
    wait_released(image)
    return run("losetup", "--find", "--show", image).strip()


def release_with_last_user(device: str) -> None:
    """Detach, or, when it is mounted, have the kernel detach it at the last unmount."""
    run("losetup", "--detach", device)


def wait_released(image: Path, timeout_s: float = 15.0) -> None:
    """Wait until no loop device holds the image; says who holds it when the time is over."""
    deadline = time.monotonic() + timeout_s
    while devices := devices_of(image):
        if time.monotonic() > deadline:
            raise MachineError(
                f"{image} is still held by {', '.join(devices)} after {timeout_s:.0f} s, "
                f"mounted by process {_mounted_by(devices) or 'unknown'}: end that process "
                "and try again."
            )
        time.sleep(0.02)


def _mounted_by(devices: list[str]) -> str:
    holders: list[str] = []
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            text = mounts.read_text()
        except OSError:
            continue
        if any(f" {device} " in text for device in devices):
            holders.append(mounts.parent.name)
    return ", ".join(holders[:10])
