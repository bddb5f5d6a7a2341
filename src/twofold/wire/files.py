"""A module's files as data: what travels between CLI and daemons when a module is applied.

`{"module.toml": {"mode": 420, "content": BASE64}, "scripts/start": {...}}`. Only these two places
exist in a module; any other path is refused before anything is written. A change of `cluster.toml`
travels in the same form, as that one file alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, cast

from twofold.errors import OperatorError

FILES_MAX = 256
BYTES_MAX = 2 * 1024 * 1024  # of all files together; base64 of it fits a line
_PATH = re.compile(
    r"module\.toml|scripts/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/){0,4}[A-Za-z0-9_-][A-Za-z0-9._-]*"
)

Files = dict[str, tuple[int, bytes]]


def pack(files: Mapping[str, tuple[int, bytes]]) -> dict[str, Any]:
    """Raises `OperatorError` for files that no module may have."""
    _check(files)
    return {
        path: {"mode": mode, "content": base64.b64encode(content).decode()}
        for path, (mode, content) in files.items()
    }


def unpack(data: object) -> Files:
    if not isinstance(data, dict):
        raise OperatorError("the module's files are missing in the request")
    files: Files = {}
    for path, entry in cast(dict[object, Any], data).items():
        try:
            content = base64.b64decode(entry["content"], validate=True)
            executable = int(entry["mode"]) & 0o100
        except (TypeError, KeyError, ValueError, binascii.Error):
            raise OperatorError(f"file {path!r} of the module is damaged") from None
        files[str(path)] = (0o755 if executable else 0o644, content)
    _check(files)
    return files


def _check(files: Mapping[str, tuple[int, bytes]]) -> None:
    if set(files) == {"cluster.toml"} and len(files["cluster.toml"][1]) <= BYTES_MAX:
        return
    for path in files:
        if _PATH.fullmatch(path) is None:
            raise OperatorError(
                f"a module cannot have a file {path!r}",
                "It has module.toml, and files under scripts/ with plain names.",
            )
    if "module.toml" not in files:
        raise OperatorError("the module has no module.toml", "Write one.")
    if len(files) > FILES_MAX or sum(len(c) for _, c in files.values()) > BYTES_MAX:
        raise OperatorError(
            f"the module has more than {FILES_MAX} files or {BYTES_MAX // 2**20} MiB",
            "Keep large things outside of its scripts/.",
        )
