"""Every system call of the engine carries a label, so that a test can make it fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "crates/mirror-fs/src"
# The calls themselves; mounts; the socket of the control plane and the start of the process.
# What a person asks of a rescue does not run in the engine.
FREE = {"rescue_read.rs", "rescue_extract.rs"} | {
    *("calls.rs", "sys.rs", "mount.rs", "backing.rs", "lib.rs"),
    *("config.rs", "tls.rs", "effect.rs"),
}
FILES = sorted(p for p in SRC.rglob("*.rs") if p.name not in FREE and p.parent.name != "control")
RAW = re.compile(
    r"\b(?:rfs|rustix::fs|rustix::io)::[a-z_]+\(|\bp(?:read|write)\(2\)|\blibc::[a-z]\w+\("
)
# These end the sight of a file that is no replicated one, or have their label beside them.
STATE = re.compile(
    r"\bstd::fs::(?!File\b)[a-z_]+\(|\bFile::(?:create|open|options)\(|\.sync_(?:all|data)\("
)
FUNCTION = re.compile(r"^( *)(?:pub(?:\([a-z]+\))? )?(?:const |unsafe )*fn (\w+)", re.MULTILINE)
UNLABELLED = {
    "engine.rs": {"fresh_number", "read_generation"},  # /dev/urandom; making the state directory
    "roles.rs": {"flush_kernel"},  # our own mount
}


def functions(text: str) -> dict[str, str]:
    starts = [(m.start(), m[2]) for m in FUNCTION.finditer(text)]
    ends = [start for start, _ in starts[1:]] + [len(text)]
    return {name: text[start:end] for (start, name), end in zip(starts, ends, strict=True)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_system_call_is_labelled(path: Path) -> None:
    wrong: list[str] = []
    for name, body in functions(path.read_text()).items():
        if name in UNLABELLED.get(path.name, ()):
            continue
        code = re.sub(r"//.*", "", body)
        if RAW.search(code):
            wrong.append(f"{name} calls the system itself: go through `calls` or `sys`")
        elif STATE.search(code) and "effect::" not in code:
            wrong.append(f"{name} uses a file without a label: see docs/internals/faults.md")
    assert not wrong, f"{path.name}: {wrong}"
