"""Where the console listens, and with which certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from twofold.errors import MachineError

PORT = 9010
DIRECTORY = "web"


def certificate_files(etc: Path) -> tuple[Path, Path]:
    """(certificate, key): somebody's own, else the cluster's."""
    place = etc / DIRECTORY
    own = (place / "own.crt", place / "own.key")
    return own if all(p.exists() for p in own) else (place / "web.crt", place / "web.key")


def stamp(etc: Path) -> tuple[float, ...]:
    """Changes when a certificate does."""
    return tuple(p.stat().st_mtime if p.exists() else 0.0 for p in certificate_files(etc))


def tls_context(etc: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, etc)
    return context


def load(context: ssl.SSLContext, etc: Path) -> None:
    """Also into a context in use: new connections get the new certificate."""
    certificate, key = certificate_files(etc)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as e:
        raise MachineError(
            f"the console's certificate {certificate} cannot be used: {e.strerror or e}",
            "twofoldd makes it when this machine is part of a cluster.",
        ) from None
