"""The few system calls the lab needs and Python 3.11 does not offer, by ctypes.

Each raises `OSError` with the path or name it was about; nothing else is done here.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

PR_SET_NAME = 15

# _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN.
FS_IOC_SHUTDOWN = 0x8004587D
SHUTDOWN_WITHOUT_FLUSH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, about: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def set_hostname(name: str) -> None:
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), name)


def set_process_name(name: str) -> None:
    _check(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0), name)


def mount(
    source: str | Path, target: str | Path, kind: str = "", flags: int = 0, options: str = ""
) -> None:
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        f"mount {source} on {target}",
    )


def bind(source: str | Path, target: str | Path) -> None:
    mount(source, target, flags=MS_BIND | MS_REC)


def shut_file_system(path: Path) -> None:
    """End the file system of `path` as a power cut would: nothing in memory reaches the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flag = SHUTDOWN_WITHOUT_FLUSH.to_bytes(4, "little")
        fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, flag)
    finally:
        os.close(descriptor)
