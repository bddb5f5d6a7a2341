"""Corners of the interface: limits, flags of single reads and writes, advice, several writers."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import select
import shutil
import signal
import struct
from pathlib import Path

from tests.fs.operations.kernel import (
    RENAME_EXCHANGE,
    RENAME_WHITEOUT,
    allocate,
    rename_with,
)
from tests.fs.operations.people import ANNE, BORIS, Child, as_person
from tests.fs.operations.table import attempt, lasting, listing, opened, operation, shown

FICLONE = 0x40049409
CREATE = os.O_CREAT | os.O_RDWR
MANY = 100_000
LINKS = 3000


@operation
def flags_of_single_reads_and_writes(root: Path) -> object:
    descriptor = os.open(root / "file", CREATE)
    told: list[object] = []
    for name in ("RWF_DSYNC", "RWF_SYNC", "RWF_APPEND"):
        flag = getattr(os, name)
        told.append(attempt(lambda f=flag: os.pwritev(descriptor, [b"12345"], 0, f)))
    told.append(os.lseek(descriptor, 0, os.SEEK_END))
    told.append(attempt(lambda: os.preadv(descriptor, [bytearray(5)], 0, os.RWF_HIPRI)))
    told.append(attempt(lambda: os.pwritev(descriptor, [b"x"], 0, 1 << 20)))
    os.close(descriptor)
    return told, (root / "file").read_bytes()


@operation
def advice_and_read_ahead(root: Path) -> object:
    (root / "file").write_bytes(bytes(range(256)) * 4000)
    descriptor = os.open(root / "file", os.O_RDWR)
    told: list[object] = []
    for advice in ("NORMAL", "SEQUENTIAL", "RANDOM", "WILLNEED", "NOREUSE", "DONTNEED"):
        number = getattr(os, f"POSIX_FADV_{advice}")
        told.append(attempt(lambda n=number: os.posix_fadvise(descriptor, 0, 0, n)))
    libc = ctypes.CDLL(None, use_errno=True)
    told.append(libc.readahead(descriptor, ctypes.c_long(0), ctypes.c_size_t(1 << 20)))
    told.append(os.pread(descriptor, 3, 300_001))
    told.append(attempt(lambda: os.posix_fadvise(descriptor, 0, 0, 99)))
    os.close(descriptor)
    return told


@operation
def too_large_for_the_limit_of_the_process(root: Path) -> object:
    def write() -> object:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        descriptor = os.open(root / "file", CREATE)
        return [
            attempt(lambda: os.pwrite(descriptor, b"x" * 100, 9_950)),
            attempt(lambda: os.pwrite(descriptor, b"x", 10_000)),
            attempt(lambda: os.ftruncate(descriptor, 10_001)),
            attempt(lambda: allocate(descriptor, 0, 0, 20_000)),
        ]

    return Child(write).answer(), shown(root / "file")


@operation
def offsets_that_cannot_be(root: Path) -> object:
    descriptor = os.open(root / "file", CREATE)
    last = (1 << 63) - 1
    told = [
        attempt(lambda: os.pwrite(descriptor, b"x", last)),
        attempt(lambda: os.pread(descriptor, 1, last)),
        attempt(lambda: os.lseek(descriptor, -1, os.SEEK_SET)),
        attempt(lambda: os.lseek(descriptor, 0, 77)),
        attempt(lambda: allocate(descriptor, 0, last - 10, 100)),
        attempt(lambda: allocate(descriptor, 0x80, 0, 100)),
        attempt(lambda: allocate(descriptor, 0x02, 0, 100)),
        attempt(lambda: os.pread(descriptor, 10, 1 << 40)),
    ]
    os.close(descriptor)
    return told, shown(root / "file")


@operation
def copies_that_overlap_or_go_nowhere(root: Path) -> object:
    file = root / "file"
    file.write_bytes(b"0123456789" * 5000)
    (root / "other").write_bytes(b"")
    one, two = os.open(file, os.O_RDWR), os.open(root / "other", os.O_RDWR)
    reading = os.open(file, os.O_RDONLY)
    appending = os.open(root / "other", os.O_WRONLY | os.O_APPEND)
    told = [
        attempt(lambda: os.copy_file_range(one, one, 20_000, 0, 10_000)),
        attempt(lambda: os.copy_file_range(one, one, 10_000, 0, 20_000)),
        attempt(lambda: os.copy_file_range(one, two, 100, 60_000, 0)),
        attempt(lambda: os.copy_file_range(one, two, 30_000, 49_000, 70_000)),
        attempt(lambda: os.copy_file_range(one, reading, 10, 0, 20)),
        attempt(lambda: os.copy_file_range(one, appending, 10, 0, 0)),
    ]
    for descriptor in (one, two, reading, appending):
        os.close(descriptor)
    return told, file.read_bytes()[20_000:20_010], shown(root / "other")


@operation
def clones_are_answered(root: Path) -> object:
    """Done, or refused in the way after which programs copy: the mount always refuses."""
    (root / "file").write_bytes(b"x" * 8192)
    one, two = os.open(root / "file", os.O_RDONLY), os.open(root / "clone", CREATE)
    try:
        done = attempt(lambda: fcntl.ioctl(two, FICLONE, one))
    finally:
        os.close(one)
        os.close(two)
    (root / "clone").unlink()
    return done in (0, "ENOTSUP")


@operation
def names_and_paths_at_their_limits(root: Path) -> object:
    place = os.fsencode(root)
    told: list[object] = []
    room = 4095 - len(place) - 1
    # A path of exactly PATH_MAX - 1 bytes, and one more.
    parts = [b"p" * 199] * (room // 200)
    deep = place
    for part in parts:
        deep += b"/" + part
        os.mkdir(deep)
    rest = 4095 - len(deep) - 1
    for length in (rest, rest + 1):
        if 0 < length <= 255:
            told.append(opened(deep + b"/" + b"f" * length, CREATE))
    told.append(attempt(lambda: os.symlink(b"s" * 4095, place + b"/link")))
    told.append(attempt(lambda: os.mkdir(place + b"/" + b"d" * 256)))
    told.append(attempt(lambda: os.rename(place + b"/link", place + b"/" + b"l" * 256)))
    shutil.rmtree(root / ("p" * 199))  # a comparison could not reach it
    return told, len(parts) > 10


@operation
def more_links_than_a_directory_wants(root: Path) -> object:
    file = root / "file"
    file.touch()
    for number in range(LINKS):
        os.link(file, root / f"link {number}")
    told = file.stat().st_nlink
    for number in range(0, LINKS, 2):
        (root / f"link {number}").unlink()
    file.unlink()
    return told, (root / "link 1").stat().st_nlink, len(os.listdir(root))


@lasting
def a_directory_of_100_000_files(root: Path) -> object:
    directory = os.open(root, os.O_RDONLY)
    for number in range(MANY):
        os.close(os.open(f"f{number:06}", CREATE, 0o600, dir_fd=directory))
    seen: set[str] = set()
    with os.scandir(directory) as entries:
        for count, entry in enumerate(entries):
            seen.add(entry.name)
            if count % 10_000 == 0 and count < MANY:  # it changes meanwhile
                os.unlink(f"f{count:06}", dir_fd=directory)
                os.mkdir(f"d{count:06}", dir_fd=directory)
    stayed = {f"f{number:06}" for number in range(MANY) if number % 10_000}
    listed = len(os.listdir(directory))
    for name in os.listdir(directory)[: MANY - 100]:
        (os.rmdir if name.startswith("d") else os.unlink)(name, dir_fd=directory)
    left = len(os.listdir(directory))
    for name in os.listdir(directory):
        (os.rmdir if name.startswith("d") else os.unlink)(name, dir_fd=directory)
    os.close(directory)
    return stayed <= seen, listed, left


@operation
def places_in_a_directory(root: Path) -> object:
    """telldir and seekdir: from each place on, the same entries as before."""
    for number in range(300):
        (root / f"file {number}").touch()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fdopendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(libc.fdopendir(os.open(root, os.O_RDONLY)))

    def entry() -> bytes | None:
        found = libc.readdir(stream)
        return None if not found else ctypes.string_at(found + 19)

    told: list[int] = []
    order: list[bytes] = []
    while True:
        place = libc.telldir(stream)
        name = entry()
        if name is None:
            break
        told.append(place)
        order.append(name)
    again: list[bool] = []
    for number in (250, 3, 100, 0, 299):
        libc.seekdir(stream, ctypes.c_long(told[number]))
        again.append([entry() for _ in range(3)] == [*order, None, None][number : number + 3])
    libc.rewinddir(stream)
    again.append(entry() == order[0])
    libc.closedir(stream)
    return again, len(order), len(set(order))


@operation
def appended_by_processes_with_other_writes_between(root: Path) -> object:
    file = root / "log"
    file.touch()

    def work(letter: bytes) -> None:
        log = os.open(file, os.O_WRONLY | os.O_APPEND)
        own = os.open(root / f"own {letter.decode()}", CREATE)
        for number in range(150):
            os.write(log, letter * 9 + b"\n")
            os.pwrite(own, letter * 100, number * 50)
        os.fsync(log)

    children = [Child(lambda letter=letter: work(letter)) for letter in (b"a", b"b", b"c", b"d")]
    for child in children:
        child.answer()
    lines = sorted(file.read_bytes().split(b"\n"))
    file.unlink()
    return [(line, lines.count(line)) for line in sorted(set(lines))], listing(root)


@operation
def mapped_by_several_processes(root: Path) -> object:
    file = root / "file"
    file.write_bytes(bytes(64 * 4096))

    def work(number: int) -> None:
        descriptor = os.open(file, os.O_RDWR)
        with mmap.mmap(descriptor, 64 * 4096) as mapping:
            for page in range(number, 64, 4):
                mapping[page * 4096 : page * 4096 + 4] = struct.pack("<I", page)
            mapping.flush()

    for child in [Child(lambda number=number: work(number)) for number in range(4)]:
        child.answer()
    data = file.read_bytes()
    return [struct.unpack_from("<I", data, page * 4096)[0] for page in range(64)]


@operation
def mapped_at_the_end_and_beyond(root: Path) -> object:
    file = root / "file"
    file.write_bytes(b"x" * 5000)
    with file.open("r+b") as opened_file, mmap.mmap(opened_file.fileno(), 5000) as mapping:
        told = [bytes(mapping[4990:5000])]
        mapping[4999:5000] = b"e"
        os.ftruncate(opened_file.fileno(), 9000)
        told.append(os.pread(opened_file.fileno(), 10, 4995))
        mapping.flush()

    def touch_beyond() -> None:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        descriptor = os.open(file, os.O_RDWR)
        os.ftruncate(descriptor, 3 * 4096)
        beyond = mmap.mmap(descriptor, 3 * 4096)
        os.ftruncate(descriptor, 100)
        beyond[2 * 4096 : 2 * 4096 + 1]

    pid = os.fork()
    if pid == 0:
        try:
            touch_beyond()
        finally:
            os._exit(0)
    return told, os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGBUS, shown(file)


@operation
def flags_of_an_open_file(root: Path) -> object:
    (root / "file").write_text("x")
    descriptor = os.open(root / "file", os.O_RDWR)
    told = [
        attempt(lambda: fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE),
        attempt(lambda: fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)),
        os.pwrite(descriptor, b"y", 0),
        select.select([descriptor], [descriptor], [], 0)[:2] == ([descriptor], [descriptor]),
    ]
    os.close(descriptor)
    return told, (root / "file").read_text()


@operation
def a_whiteout_is_left_by_a_rename(root: Path) -> object:
    (root / "file").write_text("x")
    (root / "other").write_text("y")
    (root / "directory").mkdir()
    told = [
        attempt(lambda: rename_with(root / "file", root / "moved", RENAME_WHITEOUT)),
        attempt(lambda: rename_with(root / "moved", root / "other", RENAME_WHITEOUT)),
        attempt(lambda: rename_with(root / "other", root / "directory" / "in", RENAME_WHITEOUT)),
        attempt(lambda: rename_with(root / "file", root / "moved", 6)),
    ]
    exchanged = attempt(lambda: rename_with(root / "file", root / "directory", RENAME_EXCHANGE))
    return told, exchanged, listing(root)


@operation
def given_to_a_group_and_back(root: Path) -> object:
    """Who may set the group bit, and when it goes, with and without being in the group."""
    told: list[object] = []
    for person in (ANNE, BORIS):
        file = root / f"file {person.uid}"
        file.write_text("x")
        os.chown(file, person.uid, 13050)
        for mode in (0o2755, 0o2745, 0o6755):
            told.append(as_person(person, lambda f=file, m=mode: f.chmod(m)))
            told.append(shown(file))
        told.append(as_person(person, lambda f=file, p=person: os.chown(f, -1, p.gid)))
        told.append(shown(file))
    return told


@operation
def what_is_open_outlives_its_name(root: Path) -> object:
    told: list[object] = []
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mkfifo(root / "fifo")
    (root / "file").write_text("x")
    (root / "directory").mkdir()
    (root / "link").symlink_to("x")
    ways = {
        "null": os.O_RDWR,
        "fifo": os.O_RDWR,
        "file": os.O_PATH,
        "directory": os.O_PATH,
        "link": os.O_PATH | os.O_NOFOLLOW,
    }
    for name, flags in ways.items():
        descriptor = os.open(root / name, flags)
        ((root / name).rmdir if name == "directory" else (root / name).unlink)()
        status = os.fstat(descriptor)
        told.append((name, oct(status.st_mode), status.st_nlink))
        if flags == os.O_RDWR:
            told.append(attempt(lambda d=descriptor: os.fchmod(d, 0o600)))
            told.append(oct(os.fstat(descriptor).st_mode))
        os.close(descriptor)
    return told
