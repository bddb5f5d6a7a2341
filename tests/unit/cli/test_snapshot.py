"""`twofold snapshot`: one archive, with what could be had, and what could not by its name."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.unit.cli.conftest import Daemon

Run = Callable[..., tuple[int, str, str]]
ANSWER = {
    "items": ["system/load.txt", "../../etc/passwd", "/etc/x", "a//b"],
    "text": "0.1\n",
    "removed": ["line 1: a token"],
    "cut": True,
}


def members(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {n: (archive.extractfile(n) or file.open("rb")).read().decode()
                for n in archive.getnames()}  # fmt: skip


def test_all_nodes(daemon: Daemon, twofold: Run, tmp_path: Path) -> None:
    daemon.answers["snapshot"] = ANSWER
    file = tmp_path / "s.tar.gz"
    code, out, _ = twofold("snapshot", "-o", str(file))
    assert code == 0 and "2 files are in" in out and "2 secrets were removed" in out
    assert file.stat().st_mode & 0o777 == 0o600
    found = members(file)
    top = "twofold-snapshot"
    assert set(found) == {f"{top}/{n}" for n in (
        "README.txt", "REMOVED.txt", "MISSING.txt", "a/system/load.txt", "b/system/load.txt"
    )}  # fmt: skip
    assert "a/system/load.txt: line 1: a token\n" in found[f"{top}/REMOVED.txt"]
    assert "b/system/load.txt: only a part" in found[f"{top}/MISSING.txt"]
    assert twofold("snapshot", "-o", str(file))[0] == 10


def test_a_silent_node_is_named(daemon: Daemon, twofold: Run, tmp_path: Path) -> None:
    daemon.answers["snapshot"] = ANSWER
    daemon.silent.add("b")
    file = tmp_path / "s.tar.gz"
    code, out, _ = twofold("snapshot", "-o", str(file), "--json")
    assert code == 11 and json.loads(out)["silent"] == ["b"]
    found = members(file)
    assert "node b: " in found["twofold-snapshot/MISSING.txt"]
    assert "twofold-snapshot/a/system/load.txt" in found


def test_a_dead_node_is_not_waited_for_long(daemon: Daemon, twofold: Run, tmp_path: Path) -> None:
    daemon.answers["snapshot"] = {"items": []}
    twofold("snapshot", "-o", str(tmp_path / "s.tar.gz"))
    asked = next(body for _, command, body in daemon.asked if command == "snapshot")
    assert asked["timeout_s"] <= 5.0
