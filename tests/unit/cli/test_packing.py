"""A module goes into one file and comes back; the library says what its variables mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.unit.cli.conftest import Daemon
from twofold.config.load import digest_of
from twofold.wire.files import pack

Run = Callable[..., tuple[int, str, str]]
FILES = {"module.toml": (0o644, b"[module]\n"), "scripts/run": (0o755, b"#!/bin/sh\n")}


def test_packed_looked_into_and_unpacked(daemon: Daemon, twofold: Run, tmp_path: Path) -> None:
    daemon.answers["config_show"] = {"packed": pack(FILES)}
    file = tmp_path / "shop.module.tar.gz"
    code, out, _ = twofold("module", "pack", "files", "-o", str(file))
    assert (code, digest_of(FILES) in out, file.stat().st_mode & 0o777) == (0, True, 0o600)
    assert twofold("module", "pack", "files", "-o", str(file))[0] == 10
    into = tmp_path / "files"
    code, out, _ = twofold("module", "unpack", str(file), "--into", str(into), "--json")
    assert json.loads(out)["digest"] == digest_of(FILES)
    assert (into / "scripts" / "run").stat().st_mode & 0o777 == 0o755
    code, _, err = twofold("module", "unpack", str(file), "--digest", "00")
    assert (code, "do not use it" in err) == (10, True)


def test_add_takes_a_packed_module(daemon: Daemon, twofold: Run, tmp_path: Path) -> None:
    daemon.answers["config_show"] = {"packed": pack(FILES)}
    daemon.answers["module_add"] = {"module": "files", "nodes": ["a", "b"]}
    file = tmp_path / "shop.module.tar.gz"
    twofold("module", "pack", "files", "-o", str(file))
    assert twofold("module", "add", "files", "--from", str(file))[0] == 0
    assert daemon.asked[-1][2]["files"] == pack(FILES)
    assert twofold("module", "add", "files", "--from", f"{tmp_path}/none.module.tar.gz")[0] == 10


def test_one_library_module_is_shown_whole(daemon: Daemon, twofold: Run) -> None:
    code, out, _ = twofold("module", "library", "mariadb")
    assert code == 0
    assert "Add it: twofold module add mariadb --set address=…" in out
    assert "[replication]" in out
    code, _, err = twofold("module", "library", "mariadv")
    assert (code, "Did you mean 'mariadb'?" in err) == (10, True)
