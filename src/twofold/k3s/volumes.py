"""The volume image while it is in use: look at it, grow it, trim it.

`grow` makes the sparse file longer, tells the loop device, then the file system: nothing stops. A
step that was interrupted is repeated by the same command, and the module does the last two again at
each start.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from twofold.errors import CommandRefused, MachineError
from twofold.k3s.machine import Machine
from twofold.k3s.settings import volume_bytes

IMAGE = "volumes.img"
BOUND_S = 300.0
LOW = 0.9  # of the volumes, or of the disk below them


@dataclass(frozen=True)
class Volumes:
    """As mounted on the node that serves. Sizes in bytes."""

    mount: str
    device: str
    image: str
    image_bytes: int
    size_bytes: int
    used_bytes: int
    allocated_bytes: int  # of the image on the disk
    disk_free_bytes: int
    writable: bool

    @property
    def overcommitted_bytes(self) -> int:
        """What the image may still ask for and the disk does not have."""
        return max(0, self.image_bytes - self.allocated_bytes - self.disk_free_bytes)


def look(machine: Machine, mount: str, directory: str) -> Volumes | None:
    """None: not mounted here, so another node serves, or none."""
    found = machine.run(["findmnt", "--json", "--bytes", "--mountpoint", mount,
                         "--output", "SOURCE,SIZE,USED,OPTIONS,FSTYPE"], check=False)  # fmt: skip
    if found.code != 0:
        return None
    mounted: dict[str, Any] = json.loads(found.out)["filesystems"][0]
    image = f"{directory}/{IMAGE}"
    size, blocks, unit = machine.run(["stat", "--format=%s %b %B", image]).out.split()
    # The image lies on a file system of Twofold; free is what the disk below has.
    free = machine.run(["stat", "--file-system", "--format=%a %S", directory]).out.split()
    return Volumes(
        mount=mount,
        device=str(mounted["source"]),
        image=image,
        image_bytes=int(size),
        size_bytes=int(mounted["size"] or 0),
        used_bytes=int(mounted["used"] or 0),
        allocated_bytes=int(blocks) * int(unit),
        disk_free_bytes=int(free[0]) * int(free[1]),
        writable=_writes(machine, mount),
    )


def _writes(machine: Machine, mount: str) -> bool:
    """A file system that has shut itself down answers to everything with an error."""
    probe = f"{mount}/.twofold-probe"
    words = ["dd", "if=/dev/zero", f"of={probe}", "bs=512", "count=1", "conv=fsync", "status=none"]
    return (
        machine.run(["timeout", "--kill-after=1", "10", *words], bound_s=15, check=False).code == 0
    )


def _here(machine: Machine, mount: str, directory: str) -> Volumes:
    found = look(machine, mount, directory)
    if found is None:
        raise CommandRefused(
            "the volumes are not mounted on this node", "Say it on the node that serves."
        )
    return found


def grow(machine: Machine, mount: str, directory: str, size: str, thin: bool) -> Volumes:
    before = _here(machine, mount, directory)
    wanted = volume_bytes(size)
    if wanted < before.image_bytes:
        raise CommandRefused(
            f"the volumes have {before.image_bytes >> 20} MiB, and XFS cannot shrink",
            "Give a larger size.",
        )
    lacking = wanted - before.allocated_bytes - before.disk_free_bytes
    if lacking > 0 and not thin:
        raise CommandRefused(
            f"the disk below lacks {lacking >> 20} MiB for an image of {size}",
            "Enlarge it on both nodes, or say --thin: then watch it yourself (twofold k3s status).",
        )
    if wanted > before.image_bytes:
        machine.run(["truncate", "--size", str(wanted), before.image], bound_s=BOUND_S)
    machine.run(["losetup", "--set-capacity", before.device], bound_s=BOUND_S)
    machine.run(["xfs_growfs", "-d", mount], bound_s=BOUND_S)
    after = _here(machine, mount, directory)
    if after.image_bytes < wanted or after.size_bytes < before.size_bytes:
        raise MachineError("the volumes did not grow", "See: dmesg | tail")
    return after


def trim(machine: Machine, mount: str, directory: str) -> Volumes:
    """Give back what was deleted; the mount does it by itself, this does the rest."""
    _here(machine, mount, directory)
    machine.run(["fstrim", mount], bound_s=1800)
    return _here(machine, mount, directory)


def warnings(volumes: Volumes) -> list[str]:
    said: list[str] = []
    if not volumes.writable:
        said.append(f"{volumes.mount} cannot be written: see dmesg, then twofold swap k3s")
    if volumes.size_bytes and volumes.used_bytes > LOW * volumes.size_bytes:
        said.append("the volumes are nearly full: twofold k3s volumes grow SIZE")
    if volumes.overcommitted_bytes:
        said.append(
            f"the disk lacks {volumes.overcommitted_bytes >> 20} MiB that the volumes may still "
            "ask for: enlarge it on both nodes"
        )
    return said
