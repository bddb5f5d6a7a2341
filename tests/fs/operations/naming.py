"""Names: links, renames, directories large and deep, names of every byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.fs.operations.kernel import RENAME_EXCHANGE, RENAME_NOREPLACE, rename_with
from tests.fs.operations.table import attempt, large, listing, opened, operation, shown

MANY = 20_000


@operation
def hard_links(root: Path) -> object:
    file, link = root / "file", root / "link"
    file.write_text("text")
    link.symlink_to("nowhere")
    (root / "directory").mkdir()
    for number in range(5):
        os.link(file, root / f"name {number}")
    os.link(link, root / "name of the link", follow_symlinks=False)
    told = [
        attempt(lambda: os.link(root / "directory", root / "second")),
        attempt(lambda: os.link(file, root / "name 1")),
        attempt(lambda: os.link(root / "missing", root / "new")),
    ]
    (root / "name 3").write_text("through another name")
    (root / "name 4").rename(root / "directory" / "moved")
    file.unlink()
    same = (root / "name 0").samefile(root / "directory" / "moved")
    # Two names of one file: nothing happens, both stay.
    (root / "name 0").rename(root / "name 1")
    (root / "name 2").chmod(0o600)
    return told, same, (root / "name 2").read_text(), listing(root)


@operation
def symbolic_links(root: Path) -> object:
    (root / "directory").mkdir()
    (root / "relative").symlink_to("directory/../directory")
    (root / "long").symlink_to("x" * 1023)
    # 4,095 bytes on ext4, 1,023 on xfs.
    told = [attempt(lambda n=n: os.symlink("x" * n, root / f"{n}")) for n in (1024, 4095, 4096)]
    told.append(attempt(lambda: os.symlink("", root / "empty")))
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    told.append(opened(root / "one", os.O_RDONLY))
    for number in range(42):
        (root / f"chain {number}").symlink_to(f"chain {number + 1}")
    (root / "chain 42").write_text("end")
    told += [opened(root / f"chain {number}", os.O_RDONLY) for number in (1, 2, 3, 30)]
    os.utime(root / "long", ns=(5, 7), follow_symlinks=False)
    os.chown(root / "long", 12, 34, follow_symlinks=False)
    told += [(root / "long").lstat().st_mtime_ns, len((root / "long").readlink().name)]
    (root / "relative" / "below").write_text("x")
    return told, listing(root)


@operation
def rename_with_flags(root: Path) -> object:
    (root / "file").write_text("file")
    (root / "other").write_text("other")
    (root / "directory").mkdir()
    (root / "directory" / "inside").write_text("inside")

    def renamed(source: str, target: str, flags: int) -> object:
        return attempt(lambda: rename_with(root / source, root / target, flags))

    told = [
        renamed("file", "other", RENAME_NOREPLACE),
        renamed("file", "new", RENAME_NOREPLACE),
        renamed("new", "other", RENAME_EXCHANGE),
        renamed("new", "directory", RENAME_EXCHANGE),
        renamed("new", "missing", RENAME_EXCHANGE),
        renamed("new/inside", "other", RENAME_EXCHANGE),
        renamed("new", "x", RENAME_EXCHANGE | RENAME_NOREPLACE),
    ]
    return told, listing(root), (root / "other").read_text(), (root / "directory").read_text()


@operation
def rename_what_does_not_fit(root: Path) -> object:
    (root / "file").write_text("x")
    for name in ("empty", "full", "full/inside", "third"):
        (root / name).mkdir()

    def renamed(source: str, target: str) -> object:
        return attempt(lambda: os.replace(root / source, root / target))

    return [
        renamed("full", "full/inside/below"),
        renamed("empty", "full"),
        renamed("file", "empty"),
        renamed("empty", "file"),
        renamed("missing", "new"),
        renamed("file", "missing/new"),
        renamed("full/inside", "full"),
        renamed("third", "empty"),
        renamed("full", "empty"),
        renamed("file", "file"),
    ], listing(root)


@operation
def remove_directories(root: Path) -> object:
    (root / "full" / "inside").mkdir(parents=True)
    (root / "file").write_text("x")
    told = [
        attempt((root / "full").rmdir),
        attempt((root / "file").rmdir),
        attempt((root / "full").unlink),
        attempt((root / "missing").rmdir),
        attempt(lambda: (root / "full").mkdir()),
        attempt(lambda: os.rmdir(os.fsencode(root / "full" / "inside") + b"/.")),
    ]
    inside = os.open(root / "full" / "inside", os.O_RDONLY)
    (root / "full" / "inside").rmdir()
    told += [
        attempt(lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=inside)),
        attempt(lambda: os.mkdir("new", dir_fd=inside)),
        attempt(lambda: os.listdir(inside)),
        os.fstat(inside).st_nlink,
    ]
    os.close(inside)
    return told, listing(root)


@operation
def names_of_every_length_and_byte(root: Path) -> object:
    place = os.fsencode(root) + b"/"
    told: list[object] = []
    for length in (1, 254, 255, 256):
        told.append(opened(place + b"n" * length, os.O_CREAT | os.O_WRONLY))
    every = bytes(byte for byte in range(1, 256) if byte != ord("/"))
    told.append(opened(place + every[:127], os.O_CREAT | os.O_WRONLY))
    told.append(opened(place + every[127:], os.O_CREAT | os.O_WRONLY))
    told.append(attempt(lambda: os.mkdir(place + b"d\xff\n" * 80)))
    told.append(attempt(lambda: os.rename(place + b"n", place + b"\xfe\xff")))
    return told, sorted(name.hex() for name in os.listdir(os.fsencode(root)))


@operation
def deeper_than_a_path_can_be(root: Path) -> object:
    name, depth = "d" * 200, 40  # 8,000 bytes: twice what a path may have
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(root)
        for _ in range(depth):
            Path(name).mkdir()
            os.chdir(name)
        Path("file").write_text("deep")
        Path("file").rename("renamed")
        told = Path("renamed").read_text(), len(os.listdir("."))
        # Moved as a whole, and brought back to where a comparison can reach it.
        for _ in range(depth - 2):
            os.chdir("..")
        Path(name).rename("moved")
        shutil.rmtree("moved")
    finally:
        os.fchdir(before)
        os.close(before)
    return told, listing(root)


@operation
def read_a_directory_that_changes(root: Path) -> object:
    for number in range(2000):
        (root / f"stays {number:04}").touch()
        (root / f"goes {number:04}").touch()
    seen: list[str] = []
    with os.scandir(root) as entries:
        for count, entry in enumerate(entries):
            seen.append(entry.name)
            if count == 100:
                for number in range(2000):
                    (root / f"goes {number:04}").unlink()
                    if number % 4 == 0:
                        (root / f"new {number:04}").touch()
    staying = [name for name in seen if name.startswith("stays")]
    # Each that was there all the time is seen once; of the others nothing is promised.
    return len(staying), len(set(staying)), len(os.listdir(root))


@large
def a_directory_of_many_files(root: Path) -> object:
    for number in range(MANY):
        (root / f"file {number}").touch()
    listed = len(os.listdir(root)), sum(1 for entry in os.scandir(root) if entry.is_file())
    for number in range(0, MANY, 2):
        (root / f"file {number}").unlink()
    return listed, len(os.listdir(root)), shown(root)


@operation
def numbers_of_files_are_steady(root: Path) -> object:
    (root / "directory").mkdir()
    (root / "directory" / "file").write_text("x")
    before = (root / "directory" / "file").stat().st_ino
    (root / "directory" / "file").rename(root / "moved")
    listed = {entry.name: entry.inode() for entry in os.scandir(root)}
    above = (root / "directory" / "..").stat().st_ino == root.stat().st_ino
    return before == (root / "moved").stat().st_ino, before == listed["moved"], above
