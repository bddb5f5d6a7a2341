"""The typed face of the Rust extension (crates/mirror-py)."""

import os
from typing import Any

def run(config_path: str | os.PathLike[str]) -> int:
    """Run the engine until it ends; the exit code of the process. The GIL is released meanwhile."""

def compare_generations(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How two generation objects compare, as a word of the interface. `ValueError`: one is bad."""

def version() -> str:
    """The version of the engine, equal to that of the package."""
