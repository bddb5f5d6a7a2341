"""What a lab consists of, on disk, so that `down` finds everything even after a crash.

One JSON file for each lab, `/run/twofold-lab/NAME/lab.json`, replaced whole (written aside,
renamed) *before* the thing it names is used. A process is named by its id and its start time: after
a reboot, or when the number was given out again, a record can never point at a stranger.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from twofold.errors import CommandRefused

RUN_ROOT = Path(os.environ.get("TWOFOLD_LAB_RUN", "/run/twofold-lab"))
DISK_ROOT = Path("/var/tmp/twofold-lab")
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


@dataclass(frozen=True)
class ProcessId:
    """A process for certain: its number and when it started (clock ticks since boot)."""

    pid: int
    start_ticks: int

    @staticmethod
    def of(pid: int) -> ProcessId | None:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return None
        return ProcessId(pid, int(fields[19]))

    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self


@dataclass
class HostRecord:
    """One host of the lab: `init` is set while it is up."""

    name: str
    kind: str  # "switch", "client" or "node"
    init: ProcessId | None = None
    image: str | None = None
    powered: bool = False
    cut: list[str] = field(default_factory=list[str])


@dataclass
class LabRecord:
    name: str
    file_system: str
    size_bytes: int
    disk_directory: str
    share: list[str]
    hosts: dict[str, HostRecord]
    supervised: dict[str, dict[str, list[str]]] = field(
        default_factory=dict[str, dict[str, list[str]]]
    )

    @property
    def run_directory(self) -> Path:
        return RUN_ROOT / self.name

    def save(self) -> None:
        path = self.run_directory / "lab.json"
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(asdict(self), indent=1))
        aside.rename(path)


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CommandRefused(
            f"A lab cannot be called {name!r}: use up to 16 small letters and digits, "
            "a letter first."
        )


def load(name: str) -> LabRecord | None:
    check_name(name)
    try:
        raw = json.loads((RUN_ROOT / name / "lab.json").read_text())
    except FileNotFoundError:
        return None
    hosts: dict[str, HostRecord] = {}
    for key, value in raw.pop("hosts").items():
        init = value.pop("init")
        hosts[key] = HostRecord(**value, init=ProcessId(**init) if init else None)
    return LabRecord(**raw, hosts=hosts)


def names() -> list[str]:
    return sorted(path.parent.name for path in RUN_ROOT.glob("*/lab.json"))


@contextlib.contextmanager
def locked(name: str, timeout_s: float = 60.0) -> Generator[None]:
    """Only one command changes a lab at a time."""
    check_name(name)
    RUN_ROOT.mkdir(parents=True, exist_ok=True)
    with (RUN_ROOT / f".{name}.lock").open("w") as handle:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CommandRefused(
                        f"Another command has been changing the lab {name} for {timeout_s:.0f} s: "
                        "wait for it, or end it."
                    ) from None
                time.sleep(0.05)
        yield
