"""A packed module comes back as it was; an archive that is anything else is refused in words."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import OperatorError
from twofold.wire.files import BYTES_MAX
from twofold.wire.packed import packed, unpacked

FILES = {"module.toml": (0o644, b"[module]\n"), "scripts/a/run": (0o755, b"#!/bin/sh\n\0")}


def archive(*entries: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_there_and_back_and_always_the_same_bytes() -> None:
    assert unpacked(packed(FILES), "f") == FILES
    assert packed(FILES) == packed(dict(reversed(FILES.items())))


MODULE = tarfile.TarInfo("module.toml")
BAD: list[tuple[Callable[[], bytes], str]] = [
    (lambda: archive(MODULE, tarfile.TarInfo("../../etc/passwd")), "cannot have a file"),
    (lambda: archive(MODULE, tarfile.TarInfo("/etc/passwd")), "cannot have a file"),
    (lambda: archive(MODULE, tarfile.TarInfo("scripts/../../x")), "cannot have a file"),
    (lambda: archive(MODULE, link("scripts/x", tarfile.SYMTYPE, "/etc/shadow")), "not a plain"),
    (lambda: archive(MODULE, link("scripts/x", tarfile.LNKTYPE, "module.toml")), "not a plain"),
    (lambda: archive(MODULE, link("scripts/x", tarfile.CHRTYPE, "")), "not a plain"),
    (lambda: archive(MODULE, MODULE), "twice"),
    (lambda: archive(tarfile.TarInfo("scripts/x")), "no module.toml"),
    (lambda: archive(MODULE, content=b"x" * (BYTES_MAX + 1)), "more than"),
    (lambda: archive(MODULE, *(tarfile.TarInfo(f"scripts/{i}") for i in range(300))), "more than"),
    (lambda: gzip.compress(b"\0" * (64 << 20)), "unpacks to more"),
    (lambda: packed(FILES)[:-30], "not a packed module"),
    (lambda: b"", "not a packed module"),
    (lambda: b"x" * (10 << 20), "larger than a module"),
]


@pytest.mark.parametrize(("made", "why"), BAD)
def test_what_no_module_may_have_is_refused(made: Callable[[], bytes], why: str) -> None:
    with pytest.raises(OperatorError, match=why):
        unpacked(made(), "f")


@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_refused_in_words(data: bytes, zipped: bool) -> None:
    with pytest.raises(OperatorError):
        unpacked(gzip.compress(data) if zipped else data, "f")
