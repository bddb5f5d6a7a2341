"""The typed face of the Rust extension (crates/mirror-py)."""

import os
from typing import Any

def run(config_path: str | os.PathLike[str]) -> int:
    """Run the engine until it ends; the exit code of the process. The GIL is released meanwhile."""

def compare_generations(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How two generation objects compare, as a word of the interface. `ValueError`: one is bad."""

def bad_pattern(patterns: list[str]) -> tuple[int, str] | None:
    """The first of these patterns of `exclude` that means nothing, and why."""

def rescue_list(state_dir: str | os.PathLike[str]) -> str:
    """The rescues below a module's state directory, as a JSON array. All raise `ValueError`."""

def rescue_show(state_dir: str | os.PathLike[str], id: str, limit: int) -> str:
    """What is in one rescue, as a JSON object with at most `limit` names."""

def rescue_extract(
    state_dir: str | os.PathLike[str], id: str, into: str | os.PathLike[str], with_current: bool
) -> str:
    """Puts what a rescue holds into a directory that is new or empty; what was made, as JSON."""

def rescue_delete(state_dir: str | os.PathLike[str], id: str) -> str:
    """Removes a rescue for good."""

def version() -> str:
    """The version of the engine, equal to that of the package."""
