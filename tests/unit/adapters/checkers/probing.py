"""Making one probe of a checker described by its keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fakes.ports import Address
from tests.unit.adapters.services.stand import Stand, service
from twofold.adapters.checkers import Target, make_checker
from twofold.config.schema_checkers import Checker
from twofold.ports import CheckerPort, Verdict


def checker_of(tmp_path: Path, target: Target | None = None, **keys: Any) -> CheckerPort:
    if target is None:
        (tmp_path / "stand").mkdir(exist_ok=True)
        stand = Stand(tmp_path / "stand")
        target = Target(
            stand.application(service(command=["/bin/sleep", "60"])),
            Address([]),
            scripts=stand.scripts,
            variables=lambda: {"TWOFOLD_MODULE": "files", "TWOFOLD_STATE": stand.state},
        )
    checker = make_checker(Checker.model_validate({"name": "c", **keys}), target)
    assert checker.name == "c"
    return checker


async def probe(tmp_path: Path, target: Target | None = None, **keys: Any) -> Verdict:
    return await checker_of(tmp_path, target, **keys).probe()


def program(directory: Path, name: str, text: str) -> Path:
    """A stand-in executable."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def saying(words: Sequence[str], verdict: Verdict) -> bool:
    return all(word in verdict.text for word in words)
