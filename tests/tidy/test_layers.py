"""Layers (pyproject.toml, import-linter) and what single folders may import: purity is a fact."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "twofold"
# The machine replays from a seed: only the vocabulary of types and pure containers is open to it.
MACHINE_MAY = {
    "__future__",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "itertools",
    "twofold",
    "typing",
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def modules(folder: str) -> list[Path]:
    return sorted((SRC / folder).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_layers_hold() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([tool], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", modules("machine"), ids=name)
def test_machine_is_pure(path: Path) -> None:
    assert imports(path) <= MACHINE_MAY, f"{name(path)} imports {imports(path) - MACHINE_MAY}"


# The library holds applications, which stand on their own.
PYTHON = sorted(p for p in SRC.rglob("*.py") if not p.is_relative_to(SRC / "library"))


def inside(path: Path, *places: str) -> bool:
    return any(path.is_relative_to(SRC / place) for place in places)


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_concurrency_stays_with_those_who_act(path: Path) -> None:
    """Everything else runs to completion, so what it asserts holds throughout."""
    if inside(path, "adapters", "daemon", "lab", "system", "web", "witness", "ports.py"):
        return
    tree = ast.parse(path.read_text())
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef | ast.Await)]
    assert not imports(path) & {"asyncio", "threading", "multiprocessing"}


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_pydantic_stays_at_the_border(path: Path) -> None:
    """Elsewhere plain frozen dataclasses are enough. (Founding a cluster makes a configuration.)"""
    borders = ("config", "daemon/founding.py", "web/api", "web/app.py")
    assert inside(path, *borders) or "pydantic" not in imports(path)


@pytest.mark.parametrize("path", modules("adapters") + modules("machine"), ids=name)
def test_only_the_composition_root_prints_or_ends_the_process(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "exit", "quit"}, f"{name(path)}:{node.lineno}"
