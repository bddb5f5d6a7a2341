"""A module's files cross whole; a path that no module has is refused before it is written."""

from __future__ import annotations

import pytest

from twofold.errors import OperatorError
from twofold.wire.files import pack, unpack

FILES = {"module.toml": (0o644, b"[module]\n"), "scripts/start": (0o755, b"#!/bin/sh\n\xff")}


def test_files_cross_with_their_modes() -> None:
    assert unpack(pack(FILES)) == FILES


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "scripts/../../x", "scripts/", "scripts//a", "other", "scripts/.x", ""],
)
def test_other_paths_are_refused(path: str) -> None:
    data = {**pack(FILES), path: {"mode": 0o644, "content": ""}}
    with pytest.raises(OperatorError, match="cannot have a file"):
        unpack(data)


@pytest.mark.parametrize("data", [None, [], {"module.toml": 1}, {"module.toml": {"mode": "x"}}, {}])
def test_damaged_data_is_refused(data: object) -> None:
    with pytest.raises(OperatorError):
        unpack(data)


def test_too_much_is_refused() -> None:
    with pytest.raises(OperatorError, match="2 MiB"):
        pack({**FILES, "scripts/big": (0o644, bytes(3 * 2**20))})
