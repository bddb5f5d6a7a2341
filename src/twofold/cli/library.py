"""Where `--from` takes a module's files from: the library, a directory, or a packed module."""

from __future__ import annotations

from pathlib import Path

from twofold.config.library import LIBRARY, library
from twofold.config.load import MODULE_FILE, module_files, nearest
from twofold.errors import OperatorError
from twofold.wire.packed import ARCHIVE_BYTES_MAX, SUFFIX, unpacked


def read_archive(source: str) -> bytes:
    try:
        with Path(source).open("rb") as file:
            return file.read(ARCHIVE_BYTES_MAX + 1)
    except OSError as e:
        raise OperatorError(f"{source} cannot be read: {e.strerror}") from None


def files_from(source: str) -> dict[str, tuple[int, bytes]]:
    """Of a library module; of a directory or packed module when `source` looks like a path."""
    if source.endswith(SUFFIX) or ("/" in source and Path(source).is_file()):
        return unpacked(read_archive(source), source)
    directory = Path(source) if "/" in source or source == "." else LIBRARY / source
    if not (directory / MODULE_FILE).is_file():
        if directory.parent == LIBRARY:
            names = [m.name for m in library()]
            raise OperatorError(
                f"the library has no module {source!r}",
                nearest(source, names)
                or f"It has {', '.join(names)}; or give a directory: --from ./DIRECTORY",
            )
        raise OperatorError(f"{directory / MODULE_FILE} does not exist", "Write it first.")
    return module_files(directory)
