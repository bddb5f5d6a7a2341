"""A target's files: as the API has them, and as they travel to the daemon."""

from __future__ import annotations

import base64
import binascii
import tomllib
from collections.abc import Mapping
from typing import Any

from twofold.config.library import variables_of
from twofold.config.problem import placed
from twofold.errors import ConfigError, OperatorError
from twofold.web.api.config_models import File, VariableShown
from twofold.web.api.models import Problem
from twofold.wire.files import Files, pack, unpack


def shown(files: Mapping[str, tuple[int, bytes]]) -> dict[str, File]:
    return {path: _shown(mode, content) for path, (mode, content) in files.items()}


def shown_packed(data: object) -> dict[str, File]:
    """Of files in the daemon's form."""
    return shown(unpack(data))


def _shown(mode: int, content: bytes) -> File:
    executable = bool(mode & 0o100)
    try:
        return File(text=content.decode("utf-8"), executable=executable)
    except UnicodeDecodeError:
        return File(base64=base64.b64encode(content).decode(), executable=executable)


def given(files: Mapping[str, File]) -> dict[str, Any]:
    """In the daemon's form; raises `ConfigError` for what cannot be a target's files."""
    found: Files = {}
    for path, file in files.items():
        if (file.text is None) == (file.base64 is None):
            raise ConfigError(f"file {path!r} must have either text or base64")
        found[path] = (0o755 if file.executable else 0o644, _content(path, file))
    try:
        return pack(found)
    except OperatorError as e:
        raise ConfigError(e.sentence, e.mend) from None


def _content(path: str, file: File) -> bytes:
    if file.text is not None:
        try:
            return file.text.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError(f"file {path!r} is not Unicode text") from None
    try:
        return base64.b64decode(file.base64 or "", validate=True)
    except (ValueError, binascii.Error):
        raise ConfigError(f"file {path!r} is not valid base64") from None


def variables(files: Mapping[str, tuple[int, bytes]]) -> list[VariableShown]:
    """What a module leaves open, for a form."""
    try:
        raw = tomllib.loads(files["module.toml"][1].decode("utf-8"))
    except (KeyError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return []
    return [
        VariableShown(name=name, default=default, help=text)
        for name, (default, text) in variables_of(raw).items()
    ]


def problems(sentences: list[str]) -> list[Problem]:
    return [Problem(**vars(placed(s))) for s in sentences]


def problems_in(error: ConfigError) -> list[Problem]:
    """What stands in a refusal, one for each line."""
    return problems([line for line in str(error).splitlines() if line.strip()])
