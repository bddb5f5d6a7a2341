"""System calls that Python's `os` does not have."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 0x01, 0x02, 0x08, 0x10, 0x20
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def rename_with(source: Path, target: Path, flags: int) -> None:
    names = os.fsencode(source), os.fsencode(target)
    _checked(_libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], flags))


def sync_file_system(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        _checked(_libc.syncfs(descriptor))
    finally:
        os.close(descriptor)


def allocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    numbers = ctypes.c_long(offset), ctypes.c_long(length)
    _checked(_libc.fallocate(descriptor, mode, *numbers))


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def set_times(path: Path, access: tuple[int, int], modification: tuple[int, int]) -> None:
    """Each time as seconds and nanoseconds; the latter may be UTIME_NOW or UTIME_OMIT."""
    times = (_Time * 2)(_Time(*access), _Time(*modification))
    _checked(_libc.utimensat(AT_FDCWD, os.fsencode(path), times, 0))


class _Handle(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("identity", ctypes.c_ubyte * 128),
    )


def handle_of(path: Path) -> bytes:
    """The file's handle, as a server of files would keep it while the file is not open."""
    handle, mount = _Handle(length=128), ctypes.c_int()
    name = os.fsencode(path)
    _checked(_libc.name_to_handle_at(AT_FDCWD, name, ctypes.byref(handle), ctypes.byref(mount), 0))
    return bytes(handle)


def open_handle(mount: Path, handle: bytes, flags: int) -> int:
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        kept = _Handle.from_buffer_copy(handle)
        return _checked(_libc.open_by_handle_at(descriptor, ctypes.byref(kept), flags))
    finally:
        os.close(descriptor)


def drop_caches() -> None:
    """Of names and files, so that the kernel forgets what nobody uses now."""
    Path("/proc/sys/vm/drop_caches").write_text("2")


def watch(directory: Path, what: int) -> int:
    descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    _checked(_libc.inotify_add_watch(descriptor, os.fsencode(directory), what))
    return descriptor
