"""The works: what fio is told, and the one figure that is taken from each.

All are buffered writes and reads of one file by plain system calls (`psync`), as applications do
them by default; nothing is flushed at the end of a plain write, because a user does not wait for
that either. Reads start cold: fio's own hint empties the cache of the mount only, not that of the
file system below it, so every cache of the machine is dropped; and the sequential read is one pass
over the file, for the second pass would measure memory.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

FILE_MIB = 256


@dataclass(frozen=True)
class Work:
    name: str
    flags: tuple[str, ...]
    unit: str  # "MB/s" or "/s"
    what: str
    one_pass: bool = False

    @property
    def reads(self) -> bool:
        return any("read" in flag for flag in self.flags)


WORKS = (
    Work("seqwrite_1m", ("--rw=write", "--bs=1m"), "MB/s", "sequential write, 1 MiB"),
    Work("randwrite_4k", ("--rw=randwrite", "--bs=4k"), "/s", "random write, 4 KiB, one job"),
    Work(
        "randwrite_4k_j4",
        ("--rw=randwrite", "--bs=4k", "--numjobs=4"),
        "/s",
        "random write, 4 KiB, four jobs on one file",
    ),
    Work("write_fsync_4k", ("--rw=write", "--bs=4k", "--fsync=1"), "/s", "4 KiB, fsync after each"),
    Work(
        "read_1m", ("--rw=read", "--bs=1m"), "MB/s", "sequential read, 1 MiB, cold", one_pass=True
    ),
    Work("read_4k", ("--rw=randread", "--bs=4k"), "/s", "random read, 4 KiB, cold"),
)


def fio(directory: Path, flags: tuple[str, ...], runtime_s: float | None) -> dict[str, float]:
    """Run fio on `directory/data`: what it measured; raises with fio's words when it fails."""
    command = [
        "fio",
        "--name=work",
        f"--filename={directory / 'data'}",
        f"--size={FILE_MIB}m",
        "--ioengine=psync",
        "--fallocate=none",
        "--end_fsync=0",
        "--group_reporting",
        "--output-format=json",
        *flags,
    ]
    if runtime_s is not None:
        command += ["--time_based", f"--runtime={runtime_s:g}"]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120 + (runtime_s or 0), check=False
    )
    if run.returncode != 0:
        raise RuntimeError(f"fio failed on {directory}: {run.stderr.strip() or run.stdout[-500:]}")
    text = run.stdout[run.stdout.index("{") :]
    job = json.loads(text)["jobs"][0]
    side = job["read"] if any("read" in flag for flag in flags) else job["write"]
    return {"MB/s": side["bw_bytes"] / 1e6, "/s": side["iops"]}


def lay_out(directory: Path) -> None:
    """Write and flush the whole file, so that every later work meets real blocks."""
    fio(directory, ("--rw=write", "--bs=1m", "--fsync=256"), None)


def settle() -> None:
    """Flush what earlier works left behind; the next one starts from a quiet disk."""
    subprocess.run(["sync"], timeout=120, check=True)


def measure(work: Work, directory: Path, runtime_s: float) -> float:
    settle()
    if work.reads:
        Path("/proc/sys/vm/drop_caches").write_text("1\n")
    return fio(directory, work.flags, None if work.one_pass else runtime_s)[work.unit]
