"""Size and naming rules of STYLE.md: what outgrows them hides a second concept."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES = 400
FUNCTION_LINES = 70
LINE_COLUMNS = 100
# A remark to a tool cannot stand anywhere else; it does not count.
PRAGMA = re.compile(r"\s+# (pyright: ignore|noqa).*$")
NO_CONCEPT = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}

PYTHON = sorted(
    p
    for top in ("src", "tests", "bench", "modules")
    for p in (ROOT / top).rglob("*.py")
    if "work" not in p.relative_to(ROOT).parts  # bench/work; not where the checkout lies
)
RUST = sorted((ROOT / "crates").rglob("*.rs"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON + RUST, ids=name)
def test_file_is_short_and_named_after_a_concept(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= FILE_LINES, f"{name(path)} has {len(lines)} lines: split it by concept"
    wide = [n for n, line in enumerate(lines, 1) if len(PRAGMA.sub("", line)) > LINE_COLUMNS]
    assert not wide, f"{name(path)}: lines wider than {LINE_COLUMNS}: {wide}"
    assert path.stem not in NO_CONCEPT, f"{name(path)}: name the file after what it holds"


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end; the docstring is not counted."""
    end = function.end_lineno or function.lineno
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return end - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_has_docstring_and_short_functions(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), f"{name(path)}: open with a docstring that gives its theory"
    long = {f.name: length(f) for f in functions(tree) if length(f) > FUNCTION_LINES}
    assert not long, f"{name(path)}: functions over {FUNCTION_LINES} lines: {long}"


FN = re.compile(r"^(\s*)(?:pub(?:\([a-z]+\))? )?(?:const |async |unsafe |extern \"C\" )*fn (\w+)")


def rust_functions(lines: list[str]) -> dict[str, int]:
    """Lengths by rustfmt's layout: a function ends at the first `}` in the column of its `fn`."""
    found: dict[str, int] = {}
    for start, line in enumerate(lines):
        match = FN.match(line)
        if not match or line.rstrip().endswith(";"):
            continue
        closing = match[1] + "}"
        for end in range(start, len(lines)):
            if lines[end].rstrip() == closing or lines[end].rstrip().endswith("{}"):
                found[match[2]] = max(found.get(match[2], 0), end - start + 1)
                break
    return found


@pytest.mark.parametrize("path", RUST, ids=name)
def test_rust_has_theory_and_short_functions(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines and lines[0].startswith("//!"), f"{name(path)}: open with `//!` and its theory"
    long = {k: n for k, n in rust_functions(lines).items() if n > FUNCTION_LINES}
    assert not long, f"{name(path)}: functions over {FUNCTION_LINES} lines: {long}"
