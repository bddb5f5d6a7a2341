"""What a host of the lab sees: the mounts made inside its own mount namespace.

Read-only by nature: /usr and the like are the machine's own. What makes a node a node lives on its
own disk: /etc and /var (an overlay over the machine's), /srv, and, without an overlay because they
need real file-system semantics, /etc/twofold and /var/lib/twofold. /run and /tmp are empty at each
start, as after a reboot. The checkout and the Python environment stay visible wherever they are.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from . import kernel

DISK_MOUNT = "disk"
_HIDDEN_BY_BOOT = ("/run", "/tmp", "/var", "/srv", "/etc", "/dev/shm", "/sys", "/proc")
# Directories of the machine's /run that a fresh boot would make again, and those it must not share.
_RUN_NOT_COPIED = {"netns", "user", "systemd", "dbus", "twofold", "twofold-lab", "udev", "mount"}


@dataclass(frozen=True)
class BootSpec:
    """Everything process 1 is told, as JSON on its standard input."""

    lab: str
    host: str
    kind: str
    run_directory: str
    file_system: str = "ext4"
    device: str | None = None
    mount_options: str = ""
    hosts_file: str = ""
    keep: list[str] = field(default_factory=list[str])
    supervise: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    environment: dict[str, str] = field(default_factory=dict[str, str])


def build(spec: BootSpec) -> None:
    """Make the mounts of this host; called once, in its fresh mount and process namespaces."""
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    if spec.kind == "switch":
        return
    kernel.set_hostname(spec.host)
    kept = _open_kept(spec.keep)
    skeleton = _run_skeleton()
    if spec.device is not None:
        _mount_disk(spec, Path(spec.run_directory) / spec.host)
    for place, mode in (("/run", 0o755), ("/tmp", 0o1777), ("/dev/shm", 0o1777)):
        kernel.mount("tmpfs", place, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"mode={mode:o}")
    _bind_kept(kept)
    _make_run(skeleton)
    kernel.mount("proc", "/proc", "proc")
    # The network devices under /sys belong to the network namespace: they need their own sysfs.
    kernel.mount("sysfs", "/sys", "sysfs")
    _mask_watchdogs()
    # Duplicate detection would keep a node's own IPv6 addresses unusable for a second or two.
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    hosts = Path("/run/twofold-lab/hosts")
    hosts.parent.mkdir()
    hosts.write_text(spec.hosts_file)
    if spec.device is not None:
        Path("/etc/hosts").touch()  # a minimal machine has none; /etc is the node's own here
    if Path("/etc/hosts").exists():
        kernel.bind(hosts, "/etc/hosts")


def _mount_disk(spec: BootSpec, place: Path) -> None:
    assert spec.device is not None
    place.mkdir(parents=True, exist_ok=True)
    kernel.mount(spec.device, place, spec.file_system, options=spec.mount_options)
    for name in ("srv", "etc", "etc.work", "var", "var.work", "var.tmp", "conf", "state"):
        (place / name).mkdir(exist_ok=True)
    (place / "var.tmp").chmod(0o1777)
    for name in ("etc", "var"):
        layers = f"lowerdir=/{name},upperdir={place}/{name},workdir={place}/{name}.work"
        kernel.mount("overlay", f"/{name}", "overlay", options=layers)
    Path("/etc/twofold").mkdir(exist_ok=True)
    Path("/var/lib/twofold").mkdir(parents=True, exist_ok=True)
    kernel.bind(place / "conf", "/etc/twofold")
    kernel.bind(place / "state", "/var/lib/twofold")
    kernel.bind(place / "var.tmp", "/var/tmp")
    kernel.bind(place / "srv", "/srv")


def _open_kept(keep: list[str]) -> dict[str, int]:
    """Descriptors of the directories that boot would cover, taken while they can be seen."""
    kept: dict[str, int] = {}
    for name in keep:
        covered = any(name == root or name.startswith(root + "/") for root in _HIDDEN_BY_BOOT)
        if covered:
            with contextlib.suppress(FileNotFoundError):
                kept[name] = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return kept


def _bind_kept(kept: dict[str, int]) -> None:
    for name, descriptor in kept.items():
        Path(name).mkdir(parents=True, exist_ok=True)
        # /proc is still the machine's here; the process is known there by the number below.
        kernel.bind(f"/proc/self/fd/{descriptor}", name)
        os.close(descriptor)


def _run_skeleton() -> list[tuple[str, os.stat_result]]:
    return [
        (entry.name, entry.stat())
        for entry in os.scandir("/run")
        if entry.is_dir(follow_symlinks=False) and entry.name not in _RUN_NOT_COPIED
    ]


def _make_run(skeleton: list[tuple[str, os.stat_result]]) -> None:
    for name, status in skeleton:
        path = Path("/run") / name
        path.mkdir(exist_ok=True)
        os.chown(path, status.st_uid, status.st_gid)
        path.chmod(status.st_mode & 0o7777)


def _mask_watchdogs() -> None:
    """A node that arms the machine's watchdog and is then killed would reboot the machine."""
    for device in Path("/dev").glob("watchdog*"):
        kernel.bind("/dev/null", device)
