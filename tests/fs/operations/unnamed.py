"""Files without a name (O_TMPFILE): made, used, given a name, or gone with the last descriptor."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.fs.operations.people import ANNE, as_person
from tests.fs.operations.table import attempt, listing, opened, operation, shown

UNNAMED = os.O_TMPFILE | os.O_RDWR


def give_name(descriptor: int, path: Path) -> object:
    """As open(2) says it is done. Python follows the link only where it is given a directory."""
    source = f"/proc/self/fd/{descriptor}"
    return attempt(lambda: os.link(source, path, src_dir_fd=descriptor, follow_symlinks=True))


def told_of(descriptor: int) -> object:
    told = os.fstat(descriptor)
    return stat.filemode(told.st_mode), told.st_nlink, told.st_uid, told.st_gid, told.st_size


@operation
def use_a_file_without_a_name(root: Path) -> object:
    descriptor = os.open(root, UNNAMED, 0o640)
    told = [told_of(descriptor), os.pwrite(descriptor, b"text" * 5000, 100)]
    os.ftruncate(descriptor, 12_345)
    os.fchmod(descriptor, 0o600)
    os.setxattr(descriptor, "user.of", b"nobody")
    os.fsync(descriptor)
    told += [told_of(descriptor), os.pread(descriptor, 8, 99), os.listxattr(descriptor)]
    os.close(descriptor)
    return told, listing(root)


@operation
def give_such_a_file_names(root: Path) -> object:
    descriptor = os.open(root, UNNAMED, 0o644)
    content = bytes(range(256)) * 2000
    os.write(descriptor, content)
    os.setxattr(descriptor, "user.kept", b"with it")
    os.fchown(descriptor, 7, 8)
    os.utime(descriptor, ns=(10**18 + 1, 10**18 + 2))
    (root / "taken").write_text("by another")
    told = [give_name(descriptor, root / "taken"), give_name(descriptor, root / "none" / "name")]
    told.append(give_name(descriptor, root / "name"))
    told += [told_of(descriptor), (root / "name").stat().st_mtime_ns]
    told.append(give_name(descriptor, root / "second name"))
    os.pwrite(descriptor, b"after it had a name", 1000)
    os.close(descriptor)
    (root / "second name").unlink()
    whole = (root / "name").read_bytes()
    return told, whole == content[:1000] + b"after it had a name" + content[1019:], listing(root)


@operation
def such_a_file_may_be_refused_a_name(root: Path) -> object:
    descriptor = os.open(root, UNNAMED | os.O_EXCL)
    told = [give_name(descriptor, root / "never")]
    os.close(descriptor)
    (root / "file").write_text("x")
    told += [opened(root / "file", UNNAMED), opened(root / "missing", UNNAMED)]
    told.append(opened(root, os.O_TMPFILE | os.O_RDONLY))
    return told, listing(root)


@operation
def large_and_sparse_without_a_name(root: Path) -> object:
    descriptor = os.open(root, UNNAMED)
    os.pwrite(descriptor, b"first", 0)
    os.pwrite(descriptor, b"last", 1 << 33)
    os.pwrite(descriptor, b"m" * 3_000_000, 1 << 32)
    told = [give_name(descriptor, root / "sparse")]
    os.close(descriptor)
    blocks = (root / "sparse").stat().st_blocks
    return told, blocks * 512 < 4_000_000, shown(root / "sparse")


@operation
def whose_file_without_a_name(root: Path) -> object:
    folder = root / "group"
    folder.mkdir()
    os.chown(folder, ANNE.uid, 13050)
    folder.chmod(0o2770)
    os.setxattr(folder, "system.posix_acl_default", _DEFAULT_ACL)

    def make() -> object:
        os.umask(0o027)
        descriptor = os.open(folder, UNNAMED, 0o666)
        os.write(descriptor, b"Anne's")
        return [told_of(descriptor), give_name(descriptor, folder / "hers")]

    told = [as_person(ANNE, make), as_person(ANNE, lambda: opened(root, UNNAMED))]
    acl = os.getxattr(folder / "hers", "system.posix_acl_access").hex()
    return told, acl, listing(root)


# Owner rwx, user 12002 rw, group r-x, mask rwx, others nothing.
_DEFAULT_ACL = bytes.fromhex(
    "0200000001000700ffffffff02000600e22e000004000500ffffffff10000700ffffffff20000000ffffffff"
)
