"""notify.toml: the secret URL of each target, on each node, readable by root alone.

Outside of the shared configuration on purpose: cluster.toml is shown, compared and put into
histories and snapshots; this file is not.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from twofold.adapters.pki import write_file
from twofold.config.render import quoted
from twofold.errors import ConfigError

FILE = "notify.toml"
VALUE_BYTES_MAX = 4096


def read_secrets(etc: Path) -> dict[str, str]:
    file = etc / FILE
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ConfigError(
            f"{file} cannot be read", 'It has one line for each target: NAME = "URL".'
        ) from None
    return {k: v for k, v in raw.items() if isinstance(v, str)}


def write_secret(etc: Path, name: str, value: str) -> None:
    """An empty value removes it."""
    secrets = {**read_secrets(etc), name: value}
    lines = [f"{quoted(k)} = {quoted(v)}" for k, v in sorted(secrets.items()) if v]
    head = "# The URLs of notifications, secret. Written by: twofold notify set\n"
    write_file(etc / FILE, (head + "".join(f"{line}\n" for line in lines)).encode(), 0o600)
