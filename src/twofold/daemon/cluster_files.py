"""The files that a membership is built from; when one changes, a new membership begins."""

from __future__ import annotations

from pathlib import Path


def cluster_files(etc: Path) -> tuple[bytes, ...]:
    """Their contents, the certificate last; empty where there is none. Raises `OSError`."""
    files = (etc / "cluster.toml", etc / "node.toml", etc / "pki" / "node.crt")
    return tuple(f.read_bytes() if f.is_file() else b"" for f in files)


def with_new_certificate(known: tuple[bytes, ...], etc: Path) -> tuple[bytes, ...]:
    """A new certificate is no reason for a new membership; what else was written meanwhile is."""
    return (*known[:-1], cluster_files(etc)[-1])
