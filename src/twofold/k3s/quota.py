"""Each volume has the size that its claim asked for: a project quota of the XFS they are in.

A volume is a directory. XFS counts what files of one *project* use, a new file gets the project of
its directory, and beyond the limit a write fails with ENOSPC (xfs_quota(8), "directory tree
quota"); a pod's `df` shows the limit as the size. Projects and limits lie in the image, so they
move with the files: nothing is to be done at a take-over.

Looked at again and again, only what is not so yet is changed, and the limit comes last: a marking
that was interrupted has no limit yet, and is done once more. What Kubernetes has no volume for any
more (the provisioner keeps it under another name) keeps its limit until it is empty.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from twofold.errors import MachineError, OperatorError
from twofold.k3s.kubernetes import Thing
from twofold.k3s.machine import Machine

VOLUMES = "/api/v1/persistentvolumes"
FIRST_PROJECT = 100_000  # below, a person's own
_MARK_BOUND_S = 600.0  # every file of the directory is marked
_KIB = 1024
_QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[mkMGTPE])?")
_REPORTED = re.compile(r"#(\d+)\s+(\d+)\s+\d+\s+(\d+)\s")
_UNITS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** (i + 1) for i, unit in enumerate("kMGTPE")},
    **{f"{unit}i": Decimal(1024) ** (i + 1) for i, unit in enumerate("KMGTPE")},
}


@dataclass(frozen=True)
class Volume:
    """A directory below the mount, and how much it may hold."""

    directory: str
    size_bytes: int

    @property
    def size_kib(self) -> int:
        return -(-self.size_bytes // _KIB)


@dataclass(frozen=True)
class Usage:
    """Of one project. `limit_kib` 0: none."""

    used_kib: int
    limit_kib: int


@dataclass(frozen=True)
class Mark:
    """All of the directory, and whatever comes into it, belongs to the project."""

    directory: str
    project: int


@dataclass(frozen=True)
class Limit:
    """0 KiB: no limit any more."""

    directory: str
    project: int
    kib: int


Step = Mark | Limit


def quantity_bytes(text: str, of: str) -> int:
    """A quantity of Kubernetes (10Gi, 500M, 1.5Ti, 1e9) in bytes, rounded up.

    Raises `OperatorError`, about `of`, when it is none. Source: "Quantity" in Kubernetes' API
    reference.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise OperatorError(f"{of}: {text!r} is no size, such as 10Gi", "See: kubectl get pv")
    number, unit = Decimal(match[1]), match[2] or ""
    factor = _UNITS[unit] if unit in _UNITS else Decimal(f"1{unit}")
    return int((number * factor).to_integral_value(rounding="ROUND_CEILING"))


def volumes_of(volumes: Iterable[Thing], server: str, mount: str) -> list[Volume]:
    """Those of Kubernetes' volumes that lie directly below what this server exports."""
    found: list[Volume] = []
    for volume in volumes:
        spec: Thing = volume.get("spec", {})
        nfs: Thing = spec.get("nfs") or {}
        capacity: Thing = spec.get("capacity", {})
        above, name = posixpath.split(str(nfs.get("path", "")))
        if nfs.get("server") == server and above == mount and name not in ("", ".", ".."):
            size = quantity_bytes(str(capacity.get("storage", "")), f"the volume {name}")
            found.append(Volume(f"{mount}/{name}", size))
    return found


def plan(
    volumes: Iterable[Volume], projects: Mapping[str, int], usage: Mapping[int, Usage]
) -> list[Step]:
    """What is not so yet. `projects`: of each directory that is there, its project."""
    steps: list[Step] = []
    given: dict[int, str] = {}
    following = max([FIRST_PROJECT - 1, *usage, *projects.values()]) + 1
    for volume in sorted(volumes, key=lambda v: v.directory):
        if volume.directory not in projects:
            continue  # it is about to be made
        project = projects[volume.directory]
        if project < FIRST_PROJECT or project in given:
            project, following = following, following + 1
        given[project] = volume.directory
        limit_kib = usage[project].limit_kib if project in usage else 0
        if limit_kib == 0:
            steps.append(Mark(volume.directory, project))
        if limit_kib != volume.size_kib:
            steps.append(Limit(volume.directory, project, volume.size_kib))
    for project, used in sorted(usage.items()):
        ours = project >= FIRST_PROJECT and project not in given
        if ours and used.limit_kib and not used.used_kib:
            steps.append(Limit("", project, 0))
    return steps


def can_limit(machine: Machine, mount: str) -> bool:
    """Whether the volumes are mounted here, by a kernel that has such quotas."""
    found = machine.run(
        ["findmnt", "--noheadings", "--output", "OPTIONS", "--mountpoint", mount], check=False
    )
    return found.code == 0 and "prjquota" in found.out.strip().split(",")


def usage_of(machine: Machine, mount: str) -> dict[int, Usage]:
    report = _quota(machine, mount, "report -p -b -N -n").splitlines()
    found = (_REPORTED.match(line) for line in report)
    return {int(m[1]): Usage(int(m[2]), int(m[3])) for m in found if m}


def projects_of(machine: Machine, volumes: Iterable[Volume]) -> dict[str, int]:
    """Of those that are there. What is no directory of its own (a link) has no project."""
    directories = [volume.directory for volume in volumes]
    if not directories:
        return {}
    said = machine.run(["lsattr", "-d", "-p", "--", *directories], check=False).out
    lines = (line.split(maxsplit=2) for line in said.splitlines())
    return {line[2]: int(line[0]) for line in lines if len(line) == 3 and line[0].isdigit()}


def limit(machine: Machine, mount: str, volumes: list[Volume]) -> list[str]:
    """Carries out what is to be done; returns what was, and what could not be, in sentences."""
    said: list[str] = []
    failed: set[int] = set()
    for step in plan(volumes, projects_of(machine, volumes), usage_of(machine, mount)):
        if step.project in failed:
            continue
        try:
            _carry_out(machine, mount, step)
        except MachineError as e:
            failed.add(step.project)
            said.append(f"no limit for {step.directory or f'project {step.project}'}: {e}")
        else:
            if isinstance(step, Limit) and step.kib:
                said.append(f"{step.directory} may hold {step.kib / _KIB:.0f} MiB")
    return said


def _carry_out(machine: Machine, mount: str, step: Step) -> None:
    match step:
        case Mark(directory, project):
            if re.search(r'[\s"\\]', directory):  # a command of xfs_quota is one line of words
                raise MachineError(f"{directory!r} has a character that xfs_quota cannot take")
            _quota(machine, mount, f"project -s -p {directory} {project}")
        case Limit(_, project, kib):
            _quota(machine, mount, f"limit -p bhard={kib}k {project}")


def _quota(machine: Machine, mount: str, command: str) -> str:
    return machine.run(["xfs_quota", "-x", "-c", command, mount], bound_s=_MARK_BOUND_S).out
