"""Who may do what: owners, groups, set-id bits, sticky directories, ACLs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.fs.operations.people import ANNE, BORIS, as_person, each_as
from tests.fs.operations.table import listing, opened, operation, shown

CREATE = os.O_CREAT | os.O_WRONLY


def own(path: Path, uid: int, gid: int, mode: int) -> Path:
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def made(path: Path, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Path:
    path.write_text("x" * 100)
    return own(path, uid, gid, mode)


@operation
def create_as_another_user(root: Path) -> object:
    own(root, 0, 0, 0o777)

    def create() -> None:
        os.umask(0o027)
        opened(root / "file", CREATE, 0o666)
        (root / "directory").mkdir()
        (root / "link").symlink_to("file")
        os.mkfifo(root / "fifo")
        os.link(root / "file", root / "name")

    return as_person(BORIS, create), listing(root)


@operation
def refused_to_another_user(root: Path) -> object:
    secret = made(root / "secret", 0o600)
    closed = root / "closed"
    closed.mkdir()
    made(closed / "file", 0o666)
    own(closed, 0, 0, 0o700)
    readable = made(root / "readable", 0o644)
    return each_as(
        ANNE,
        [
            lambda: opened(secret, os.O_RDONLY),
            lambda: opened(readable, os.O_RDWR),
            lambda: opened(readable, os.O_RDONLY),
            lambda: opened(closed / "file", os.O_RDONLY),
            lambda: os.listdir(closed),
            lambda: opened(root / "new", CREATE),
            lambda: readable.unlink(),
            lambda: readable.rename(root / "renamed"),
            lambda: readable.chmod(0o666),
            lambda: os.chown(readable, ANNE.uid, -1),
            lambda: os.utime(readable, ns=(1, 1)),
            lambda: os.utime(readable),
            lambda: os.truncate(readable, 1),
            lambda: os.access(secret, os.R_OK),
            lambda: os.mknod(root / "device", 0o20666, os.makedev(1, 3)),
            lambda: os.setxattr(readable, "user.x", b"1"),
            lambda: os.setxattr(readable, "trusted.x", b"1"),
            lambda: subprocess.run([str(readable)], check=False).returncode,
        ],
    )


@operation
def permitted_by_a_supplementary_group(root: Path) -> object:
    shared = root / "shared"
    shared.mkdir()
    own(shared, 0, 13050, 0o770)
    file = made(shared / "file", 0o660, 0, 13050)
    for person in (BORIS, ANNE):
        as_person(person, lambda person=person: opened(shared / f"by {person.uid}", CREATE))
    opening = [as_person(p, lambda: opened(file, os.O_RDWR)) for p in (BORIS, ANNE)]
    own(file, BORIS.uid, BORIS.gid, 0o640)
    given = each_as(
        BORIS,
        [
            lambda: os.chown(file, -1, 13050),
            lambda: os.chown(file, -1, 13001),
            lambda: os.chown(file, ANNE.uid, -1),
        ],
    )
    return opening, given, listing(root)


@operation
def inherit_the_group_of_a_directory(root: Path) -> object:
    shared = root / "shared"
    shared.mkdir()
    own(shared, 0, 13050, 0o2777)
    told: list[object] = []
    for person in (BORIS, ANNE):

        def create(name: str = str(person.uid)) -> None:
            os.umask(0)
            (shared / f"directory {name}").mkdir()
            opened(shared / f"file {name}", CREATE, 0o666)
            # Without being in the group nobody makes a program with that group's rights.
            opened(shared / f"program {name}", CREATE, 0o2775)
            os.mknod(shared / f"fifo {name}", 0o12670)

        told.append(as_person(person, create))
    return told, listing(root)


def _modes_after(root: Path, name: str, mode: int, what: str, by_root: bool) -> object:
    file = made(root / name, 0o777, ANNE.uid, ANNE.gid)
    file.chmod(mode)

    def change() -> None:
        if what == "write":
            descriptor = os.open(file, os.O_WRONLY)
            os.write(descriptor, b"new")
            os.close(descriptor)
        elif what == "append":
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, b"new")
            os.close(descriptor)
        elif what == "truncate":
            os.truncate(file, 10)
        elif what == "open":
            os.close(os.open(file, os.O_WRONLY | os.O_TRUNC))
        elif what == "chown":
            os.chown(file, ANNE.uid, ANNE.gid)
        else:
            file.chmod(mode | 0o4000)

    if by_root:
        change()
    else:
        as_person(ANNE, change)
    return shown(file)


@operation
def set_id_bits_go_when_a_file_changes(root: Path) -> object:
    own(root, 0, 0, 0o777)
    changes = ("write", "append", "truncate", "open", "chown", "chmod")
    return {
        f"{what} {mode:o} {by_root}": _modes_after(
            root, f"{what} {mode:o} {by_root}", mode, what, by_root
        )
        for what in changes
        for mode in (0o4755, 0o2755, 0o6755, 0o2744, 0o6666)
        for by_root in (False, True)
    }


@operation
def set_id_bits_of_a_group_that_is_not_mine(root: Path) -> object:
    file = made(root / "file", 0o755, ANNE.uid, 13050)
    as_person(ANNE, lambda: file.chmod(0o2755))
    return shown(file)


@operation
def a_changed_program_runs_without_its_owners_rights(root: Path) -> object:
    program = root / "id"
    shutil.copy("/usr/bin/id", program)
    own(program, 0, 0, 0o4777)

    def run() -> str:
        command = [str(program), "-u"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def run_changed() -> str:
        descriptor = os.open(program, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b"changed")
        os.close(descriptor)
        return run()

    return as_person(ANNE, run), as_person(ANNE, run_changed), shown(program)


@operation
def sticky_directories(root: Path) -> object:
    temporary = root / "tmp"
    temporary.mkdir()
    own(temporary, 0, 0, 0o1777)
    made(temporary / "anne's", 0o666, ANNE.uid, ANNE.gid)
    (temporary / "anne's directory").mkdir()
    own(temporary / "anne's directory", ANNE.uid, ANNE.gid, 0o777)
    made(temporary / "boris's", 0o666, BORIS.uid, BORIS.gid)
    told = each_as(
        BORIS,
        [
            lambda: (temporary / "anne's").unlink(),
            lambda: (temporary / "anne's").rename(temporary / "stolen"),
            lambda: (temporary / "boris's").rename(temporary / "anne's"),
            lambda: (temporary / "anne's directory").rmdir(),
            lambda: (temporary / "boris's").unlink(),
        ],
    )
    return told, as_person(ANNE, lambda: (temporary / "anne's").unlink()), listing(root)


def _acl(*arguments: str) -> str:
    done = subprocess.run([*arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr.rsplit(":", 1)[-1]


def _acls(root: Path) -> str:
    told = [_acl("getfacl", "-cpn", str(path)) for path in sorted(root.rglob("*"))]
    return "\n".join(told)


@operation
def acls_permit_and_refuse(root: Path) -> object:
    file = made(root / "file", 0o640)
    _acl("setfacl", "-m", f"u:{ANNE.uid}:rw,g:13050:r", str(file))
    told = [
        as_person(ANNE, lambda: opened(file, os.O_RDWR)),
        as_person(BORIS, lambda: opened(file, os.O_RDONLY)),
        as_person(BORIS, lambda: opened(file, os.O_RDWR)),
        _acls(root),
    ]
    file.chmod(0o604)  # the group bits are the mask now
    told += [as_person(ANNE, lambda: opened(file, os.O_RDONLY)), shown(file), _acls(root)]
    _acl("setfacl", "-m", "m::rwx", str(file))
    told += [as_person(ANNE, lambda: opened(file, os.O_RDWR)), shown(file)]
    told.append(as_person(BORIS, lambda: _acl("setfacl", "-m", "u:1:r", str(file))))
    _acl("setfacl", "-b", str(file))
    return told, shown(file), _acls(root)


@operation
def acls_are_inherited(root: Path) -> object:
    directory = root / "directory"
    directory.mkdir()
    own(directory, 0, 0, 0o777)
    _acl("setfacl", "-d", "-m", f"u::rwx,g::rx,o::-,u:{BORIS.uid}:rwx,g:13050:rw", str(directory))

    def create() -> None:
        os.umask(0o077)  # has no say where there is a default ACL
        opened(directory / "file", CREATE, 0o666)
        opened(directory / "private", CREATE, 0o600)
        (directory / "below").mkdir()
        os.mkfifo(directory / "fifo", 0o644)
        opened(directory / "below" / "deep", CREATE, 0o777)

    told = [as_person(ANNE, create), _acls(root)]
    told.append(as_person(BORIS, lambda: opened(directory / "below" / "deep", os.O_RDWR)))
    _acl("setfacl", "-k", str(directory))
    as_person(ANNE, lambda: opened(directory / "after", CREATE))
    return told, _acls(root), listing(root)
