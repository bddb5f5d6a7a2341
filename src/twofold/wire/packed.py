"""A module as one file, `NAME.module.tar.gz`, and back: for a shelf, a colleague, the next site.

The archive comes from anywhere, so nothing in it is believed: it is never extracted by a tar
program, only regular files with the names that a module may have are taken, everything is counted
before it is kept, and what unpacks to more than a module may have is refused while reading. Equal
modules make equal archives, byte for byte; the digest is the module's, the same that nodes compare.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping

from twofold.errors import OperatorError
from twofold.wire.files import BYTES_MAX, FILES_MAX, Files, pack, unpack

SUFFIX = ".module.tar.gz"
ARCHIVE_BYTES_MAX = BYTES_MAX + 1024 * (FILES_MAX + 2) * 2  # with tar's headers and padding


def packed(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """The archive; raises `OperatorError` for files that no module may have."""
    pack(files)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, (mode, content) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def unpacked(data: bytes, name: str) -> Files:
    """The module's files; `name` is the archive's, for sentences."""
    if len(data) > ARCHIVE_BYTES_MAX:
        raise OperatorError(f"{name} is larger than a module can be")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            plain = stream.read(ARCHIVE_BYTES_MAX + 1)
        if len(plain) > ARCHIVE_BYTES_MAX:
            raise OperatorError(f"{name} unpacks to more than a module can be")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            files = _members(archive, name)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError):
        raise OperatorError(
            f"{name} is not a packed module", "Make one with: twofold module pack MODULE"
        ) from None
    return unpack(pack(files))


def _members(archive: tarfile.TarFile, name: str) -> Files:
    files: Files = {}
    for entry in archive:
        if entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            raise OperatorError(f"{name} has {entry.name!r}, which is not a plain file")
        if entry.name in files:
            raise OperatorError(f"{name} has {entry.name!r} twice")
        if len(files) >= FILES_MAX or entry.size > BYTES_MAX:
            raise OperatorError(f"{name} has more than a module can have")
        content = archive.extractfile(entry)
        assert content is not None, "a regular file"
        files[entry.name] = (0o755 if entry.mode & 0o100 else 0o644, content.read())
    return files
