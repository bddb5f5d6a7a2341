"""Devices, fifos, sockets, extended attributes, times, programs, and being watched."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
from pathlib import Path

from tests.fs.operations.kernel import (
    IN_CREATE,
    IN_DELETE,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    UTIME_NOW,
    UTIME_OMIT,
    handle_of,
    open_handle,
    set_times,
    watch,
)
from tests.fs.operations.people import ANNE, Child, as_person
from tests.fs.operations.table import attempt, listing, opened, operation


@operation
def device_nodes(root: Path) -> object:
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "zero", 0o20600, os.makedev(1, 5))
    os.mknod(root / "disk", 0o60600, os.makedev(259, 1000))
    with (root / "null").open("wb") as null:
        null.write(b"away")
    with (root / "zero").open("rb") as zero:
        told = zero.read(4)
    return told, listing(root)


@operation
def fifos(root: Path) -> object:
    fifo = root / "fifo"
    os.mkfifo(fifo)
    told = [opened(fifo, os.O_WRONLY | os.O_NONBLOCK)]
    writer = Child(lambda: fifo.write_bytes(b"through" * 20_000))
    received = fifo.read_bytes()
    return told, writer.answer(), len(received), received[:7], listing(root)


@operation
def sockets(root: Path) -> object:
    # By a short name: the path of a socket may have 107 bytes.
    before = os.open(".", os.O_RDONLY)
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
            server.listen()
            server.settimeout(10)
            Path("socket").chmod(0o666)

            def call() -> str:
                with socket.socket(socket.AF_UNIX) as caller:
                    caller.connect("socket")
                    caller.sendall(b"hello")
                    return caller.recv(10).decode()

            caller = Child(call, ANNE)
            line, _ = server.accept()
            with line:
                heard = line.recv(10)
                line.sendall(b"welcome")
            answer = caller.answer()
            again = attempt(lambda: socket.socket(socket.AF_UNIX).bind("socket"))
        refused = attempt(lambda: socket.socket(socket.AF_UNIX).connect("socket"))
    finally:
        os.fchdir(before)
        os.close(before)
    return heard, answer, again, refused, listing(root)


@operation
def extended_attributes(root: Path) -> object:
    file, directory = root / "file", root / "directory"
    file.write_text("x")
    directory.mkdir()
    (root / "link").symlink_to("file")
    told: list[object] = []
    for path in (file, directory):
        os.setxattr(path, "user.small", b"\x00\xff")
        os.setxattr(path, "trusted.t", b"t")
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user.large", b"v" * 3000)
        told.append(attempt(lambda p=path: os.setxattr(p, "user.small", b"", os.XATTR_CREATE)))
        told.append(attempt(lambda p=path: os.setxattr(p, "user.new", b"", os.XATTR_REPLACE)))
        told.append(attempt(lambda p=path: os.setxattr(p, "user.huge", b"v" * 70_000)))
        told.append(attempt(lambda p=path: os.setxattr(p, "nonsense", b"")))
        told.append(attempt(lambda p=path: os.getxattr(p, "user.missing")))
        told.append(attempt(lambda p=path: os.removexattr(p, "user.missing")))
        os.setxattr(path, "user.small", b"replaced", os.XATTR_REPLACE)
        os.removexattr(path, "user.empty")
        told.append({name: os.getxattr(path, name) for name in sorted(os.listxattr(path))})
    link = root / "link"
    told.append(attempt(lambda: os.setxattr(link, "user.x", b"", follow_symlinks=False)))
    told.append(attempt(lambda: os.setxattr(link, "trusted.x", b"1", follow_symlinks=False)))
    told.append(os.listxattr(link, follow_symlinks=False))
    told.append(as_person(ANNE, lambda: sorted(os.listxattr(file))))
    return told


@operation
def capabilities_of_a_program(root: Path) -> object:
    program = root / "program"
    program.write_text("x")
    # Version 2, effective: CAP_NET_BIND_SERVICE.
    value = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    told: list[object] = []
    for change in ("none", "write", "chown", "chmod", "truncate"):
        os.setxattr(program, "security.capability", value)
        if change == "write":
            with program.open("ab") as file:
                file.write(b"y")
        elif change == "chown":
            os.chown(program, 5, 5)
        elif change == "chmod":
            program.chmod(0o755)
        elif change == "truncate":
            os.truncate(program, 1)
        told.append((change, attempt(lambda: os.getxattr(program, "security.capability").hex())))
    os.setxattr(program, "security.capability", value)
    return told


@operation
def times_are_kept_to_the_nanosecond(root: Path) -> object:
    file = root / "file"
    file.write_text("x")
    told: list[object] = []

    def tell() -> None:
        status = file.stat()
        told.append((status.st_atime_ns, status.st_mtime_ns))

    os.utime(file, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321))
    tell()
    set_times(file, (77, 7), (0, UTIME_OMIT))
    tell()
    set_times(file, (0, UTIME_OMIT), (-5, 250))
    tell()
    set_times(file, (0, UTIME_OMIT), (0, UTIME_OMIT))
    tell()
    before = file.stat().st_mtime_ns
    set_times(file, (1, 1), (0, UTIME_NOW))
    told.append(file.stat().st_mtime_ns > before)
    os.utime(file, ns=(4, 10**18 + 3))
    (root / "directory").mkdir()
    os.utime(root / "directory", ns=(1, 15 * 10**17 + 1))
    directory = (root / "directory").stat().st_mtime_ns
    # What changes a file's contents changes its time; what only names it does not.
    file.rename(root / "directory" / "file")
    moved = root / "directory" / "file"
    kept = moved.stat().st_mtime_ns
    changed = (root / "directory").stat().st_mtime_ns > directory
    with moved.open("ab") as writer:
        writer.write(b"y")
    return told, directory, kept, changed, moved.stat().st_mtime_ns > kept


@operation
def space_of_the_file_system(root: Path) -> object:
    told = os.statvfs(root)
    return told.f_bsize, told.f_frsize, told.f_blocks, told.f_files, told.f_namemax


@operation
def programs_run(root: Path) -> object:
    program, script = root / "program", root / "script"
    shutil.copy("/bin/echo", program)
    script.write_text("#!/bin/sh\necho $0 | wc -c >/dev/null; echo from a script\n")
    script.chmod(0o755)
    told: list[object] = [
        subprocess.run([str(program), "hello"], capture_output=True, check=True).stdout,
        subprocess.run([str(script)], capture_output=True, check=True).stdout,
    ]
    running = subprocess.Popen([shutil.copy("/bin/sleep", root / "sleep"), "20"])
    try:
        told.append(opened(root / "sleep", os.O_WRONLY))  # ETXTBSY
        (root / "sleep").unlink()
    finally:
        running.kill()
        running.wait(10)
    program.chmod(0o644)
    told.append(attempt(lambda: subprocess.run([str(program)], check=False).returncode))
    return told


@operation
def changes_are_watched(root: Path) -> object:
    what = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
    watcher = watch(root, what)
    (root / "file").write_text("x")
    (root / "file").rename(root / "moved")
    (root / "moved").unlink()
    (root / "directory").mkdir()
    events = os.read(watcher, 65536)
    os.close(watcher)
    told: list[tuple[int, str]] = []
    at = 0
    while at < len(events):
        _, mask, _, length = struct.unpack_from("iIII", events, at)
        name = events[at + 16 : at + 16 + length].rstrip(b"\0").decode()
        told.append((mask & ~0x40000000, name))
        at += 16 + length
    return told


@operation
def files_are_found_by_handle(root: Path) -> object:
    (root / "directory").mkdir()
    file = root / "directory" / "file"
    file.write_text("by its handle")
    handle = handle_of(file)
    gone = root / "gone"
    gone.write_text("x")
    handle_of_gone = handle_of(gone)
    gone.unlink()
    file.rename(root / "moved")
    descriptor = open_handle(root, handle, os.O_RDWR)
    told = os.read(descriptor, 100)
    os.write(descriptor, b", and written")
    os.close(descriptor)
    stale = attempt(lambda: open_handle(root, handle_of_gone, os.O_RDONLY))
    return told, stale, (root / "moved").read_text()


@operation
def kinds_in_a_listing(root: Path) -> object:
    (root / "file").touch()
    (root / "directory").mkdir()
    (root / "link").symlink_to("x")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with os.scandir(root) as entries:
        kinds = [(e.name, e.is_file(), e.is_dir(), e.is_symlink()) for e in entries]
    return sorted(kinds)
