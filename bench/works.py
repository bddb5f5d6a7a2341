"""The works: what is run on a directory, and the one figure that is taken from each.

The fio works are buffered writes and reads of one file by plain system calls (`psync`), as
applications do them by default; nothing is flushed at the end of a plain write, because a user does
not wait for that either. Cold reads start cold: fio's own hint empties the cache of the mount only,
not that of the file system below it, so every cache of the machine is dropped; and the sequential
read is one pass over the file, for the second pass would measure memory.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import mariadb, names

FILE_MIB = 256


@dataclass(frozen=True)
class Work:
    """`run(directory, runtime_s)` gives the figure, in `unit`; more is better."""

    name: str
    unit: str  # "MB/s" or "/s"
    what: str
    run: Callable[[Path, float], float]


def fio_work(
    name: str, what: str, *flags: str, unit: str = "/s", cold: bool = False, one_pass: bool = False
) -> Work:
    def run(directory: Path, runtime_s: float) -> float:
        if cold:
            Path("/proc/sys/vm/drop_caches").write_text("1\n")
        return fio(directory, flags, None if one_pass else runtime_s)[unit]

    return Work(name, unit, what, run)


WORKS = (
    fio_work("seqwrite_1m", "sequential write, 1 MiB", "--rw=write", "--bs=1m", unit="MB/s"),
    fio_work("randwrite_4k", "random write, 4 KiB, one job", "--rw=randwrite", "--bs=4k"),
    fio_work(
        "randwrite_4k_j4",
        "random write, 4 KiB, four jobs on one file",
        *("--rw=randwrite", "--bs=4k", "--numjobs=4"),
    ),
    fio_work("write_fsync_4k", "4 KiB, fsync after each", "--rw=write", "--bs=4k", "--fsync=1"),
    fio_work(
        "read_1m",
        "sequential read, 1 MiB, cold",
        *("--rw=read", "--bs=1m"),
        unit="MB/s",
        cold=True,
        one_pass=True,
    ),
    fio_work("read_4k", "random read, 4 KiB, cold", "--rw=randread", "--bs=4k", cold=True),
    fio_work(
        "read_4k_warm",
        "random read, 4 KiB, in memory",
        *("--rw=randread", "--bs=4k", "--invalidate=0", "--pre_read=1"),
    ),
    Work("names", "/s", "create with 4 KiB, rename, remove", names.run),
    Work("mariadb", "/s", "MariaDB, sysbench read-write transactions, 4 threads", mariadb.run),
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
    side = job["read"] if any("read" in flag for flag in flags[:1]) else job["write"]
    return {"MB/s": side["bw_bytes"] / 1e6, "/s": side["iops"]}


def lay_out(directory: Path) -> None:
    """Write and flush the whole file, so that every later work meets real blocks."""
    fio(directory, ("--rw=write", "--bs=1m", "--fsync=256"), None)


def settle() -> None:
    """Flush what earlier works left behind; the next one starts from a quiet disk."""
    subprocess.run(["sync"], timeout=120, check=True)


def measure(work: Work, directory: Path, runtime_s: float) -> float:
    settle()
    return work.run(directory, runtime_s)
