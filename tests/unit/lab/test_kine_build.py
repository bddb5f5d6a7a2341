"""kine is built once, by Go, into a folder of our own; a failure is said in Go's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.errors import MissingRequirement
from twofold.lab.kine_build import build_kine


def go(directory: Path, script: str) -> Path:
    """A stand-in for Go."""
    path = directory / "go"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_pinned_version_is_built_into_the_folder(tmp_path: Path) -> None:
    said: list[str] = []
    script = 'echo "$@ cgo=$CGO_ENABLED" > "$GOBIN/kine"; chmod +x "$GOBIN/kine"'
    build_kine(go(tmp_path, script), tmp_path / "new/bin", said.append)
    built = (tmp_path / "new/bin/kine").read_text()
    assert built == "install github.com/k3s-io/kine@v0.16.4 cgo=0\n"
    assert len(said) == 1
    assert "v0.16.4" in said[0]


@pytest.mark.parametrize(
    ("script", "words"), [("echo no network >&2; exit 1", "no network"), ("exit 0", "Go said")]
)
def test_a_build_that_fails_is_told(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(MissingRequirement, match=words):
        build_kine(go(tmp_path, script), tmp_path / "bin", lambda _line: None)
