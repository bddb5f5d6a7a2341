"""The groups `module`, `config`, `cluster` and `doctor`: what they send and what they show."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Daemon
from twofold.errors import CommandRefused
from twofold.wire.files import unpack

Run = Callable[..., tuple[int, str, str]]


def sent(daemon: Daemon, command: str) -> dict[str, object]:
    return next(body for _, name, body in daemon.asked if name == command)


def test_a_library_module_is_sent_with_its_variables(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["module_add"] = {"module": "files", "nodes": ["a", "b"], "port": 9100}
    code, out, _ = twofold("module", "add", "files", "--set", "address=10.0.0.9/24")
    assert code == 0
    assert out.splitlines()[0] == "Module files is on a and b."
    assert "twofold start files --prim a" in out
    body = sent(daemon, "module_add")
    assert body["set"] == {"address": "10.0.0.9/24"}
    assert "[replication]" in unpack(body["files"])["module.toml"][1].decode()


def test_a_module_from_a_directory(daemon: Daemon, twofold: Run, tmp_path: Path) -> None:
    daemon.answers["module_add"] = {"module": "files", "nodes": ["a"], "port": 9100}
    (tmp_path / "scripts").mkdir()
    (tmp_path / "module.toml").write_text("# mine\n")
    (tmp_path / "scripts" / "start").touch(mode=0o755)
    assert twofold("module", "add", "files", "--from", str(tmp_path))[0] == 0
    files = unpack(sent(daemon, "module_add")["files"])
    assert files == {"module.toml": (0o644, b"# mine\n"), "scripts/start": (0o755, b"")}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("add", "filez"), "The library has no module 'filez'.\nDid you mean 'files'?\n"),
        (("add", "files", "--from", "/nowhere"), "/nowhere/module.toml does not exist.\n"),
        (("add", "files", "--set", "address"), "--set address is not NAME=VALUE.\n"),
    ],
)
def test_what_cannot_be_added_is_said(
    daemon: Daemon, twofold: Run, words: tuple[str, ...], sentence: str
) -> None:
    code, _, err = twofold("module", *words)
    assert code == 10
    assert err.startswith(sentence)


def test_apply_says_when_it_counts(daemon: Daemon, twofold: Run) -> None:
    late = {"text": "x (when the module next starts)", "when": "next_start"}
    answer = {
        "target": "files", "nodes": ["a", "b"], "version": 3, "later": [], "problems": [],
        "dry_run": False, "effects": [{**late, "node": "a"}, {**late, "node": "b"}],
    }  # fmt: skip
    daemon.answers["module_apply"] = answer
    code, out, _ = twofold("module", "apply", "files")
    assert code == 0
    assert "applied on a and b (version 3)" in out
    assert out.count("when the module next starts") == 1
    assert "twofold stopstart files -H '*'" in out
    answer |= {"problems": ["no."], "dry_run": True}
    code, out, _ = twofold("module", "apply", "files", "--dry-run")
    assert (code, out) == (10, "no.\nfiles would be refused on a and b; nothing was changed.\n")


def test_history_marks_the_current_one(daemon: Daemon, twofold: Run) -> None:
    version = {"number": 2, "at": 0.0, "by": "root", "why": "slower", "node": "a",
               "digest": "0123456789", "removed": False, "current": True}  # fmt: skip
    daemon.answers["config_history"] = {
        "target": "files", "edited": True, "versions": [{**version, "number": 1, "current": False},
                                                        version]}  # fmt: skip
    code, out, _ = twofold("config", "history", "files")
    first, second, edited = out.splitlines()
    assert (code, first[:5], second[:5]) == (0, "    1", "*   2")
    assert second.endswith("root on a             slower")
    assert "twofold config rollback files" in edited


def test_drift_has_its_mend(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["config_drift"] = {"drift": [], "silent": []}
    assert twofold("config", "drift")[0] == 0
    daemon.answers["config_drift"]["drift"] = [{"text": "files differs", "mend": "do this"}]
    assert twofold("config", "drift")[:2] == (10, "files differs.\n  → do this\n")


def test_list_of_all_nodes_and_a_broken_module(daemon: Daemon, twofold: Run) -> None:
    good = {"module": "files", "kind": "mirror", "state": "PRIM", "directories": ["/srv/files"],
            "port": 9100, "addresses": ["10.0.0.9/24"]}  # fmt: skip
    broken = {"module": "old", "state": "STOP", "error": "module.toml line 3: wrong"}
    daemon.answers["module_list"] = {"modules": [good, broken]}
    code, out, _ = twofold("module", "list", "-H", "*")
    assert code == 0
    assert out.count("/srv/files") == 2
    assert "module.toml line 3: wrong" in out
    assert "Node b:" in out


def test_the_library_lists_variables(twofold: Run) -> None:
    code, out, _ = twofold("module", "library")
    assert code == 0
    assert "mariadb" in out
    assert "--set address=" in out
    names = [m["name"] for m in json.loads(twofold("module", "library", "--json")[1])]
    assert names == sorted(names)


def test_a_variable_without_files_is_not_taken_for_checked(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["config_check"] = {"checked": ["cluster.toml", "files"], "problems": []}
    code, out, err = twofold("config", "check", "files", "--set", "directory=/nowhere")
    assert (code, out) == (10, "")
    assert "--from" in err


def test_check_shows_problems_and_fails(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["config_check"] = {"checked": ["cluster.toml", "files"], "problems": []}
    assert twofold("config", "check") == (0, "cluster.toml, files: nothing wrong.\n", "")
    daemon.answers["config_check"]["problems"] = ["modules/files/module.toml line 3: wrong."]
    code, out, _ = twofold("config", "check", "-H", "*")
    assert code == 10
    assert "node b: modules/files/module.toml line 3: wrong." in out


def test_diff(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["config_diff"] = {"differences": []}
    assert twofold("config", "diff")[0] == 0
    file = {"file": "modules/files/module.toml", "node": "b", "only_on": ""}
    daemon.answers["config_diff"] = {"differences": [file]}
    code, out, _ = twofold("config", "diff")
    assert code == 10
    assert out.startswith("modules/files/module.toml differs on b\n")


def test_the_cluster_and_a_silent_node(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["cluster_state"] = {
        "cluster": "site", "cluster_id": "x", "certificate_days": 700.0, "digests": {},
        "members": [{"node": n, "addresses": {"lan": f"10.0.0.{i}"}} for i, n in enumerate("ab")],
    }  # fmt: skip
    daemon.silent = {"b"}
    code, out, _ = twofold("cluster", "state")
    assert code == 0
    assert "a            lan 10.0.0.0" in out
    assert "no answer: node b did not answer" in out
    assert "renewed" not in out
    daemon.answers["cluster_state"]["certificate_trouble"] = "ca.key cannot be read"
    out = twofold("cluster", "state")[1]
    assert "certificate ends in 700 days and cannot be renewed: ca.key cannot be read" in out


def test_dangerous_words_ask_first(
    daemon: Daemon, twofold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no\nno\n"))
    for words in (("cluster", "leave"), ("module", "remove", "files")):
        code, _, err = twofold(*words)
        assert (code, err.splitlines()[-1]) == (130, "Nothing was done.")
    assert not [c for _, c, _ in daemon.asked if c in ("cluster_leave", "module_remove")]
    daemon.refusal = CommandRefused("modules still run on this node: files")
    assert twofold("cluster", "leave", "--yes")[0] == 10


def test_doctor_says_what_is_wrong_and_the_mend(daemon: Daemon, twofold: Run) -> None:
    code, out, _ = twofold("doctor")
    assert code == 12, "this machine is in no cluster"
    assert "✔ kernel: Linux" in out
    assert "✘ cluster: this machine is in none yet\n  → Make one with: twofold cluster init" in out
    findings = json.loads(twofold("doctor", "--json")[1])
    assert {"name", "ok", "found", "mend"} == set(findings[0])


def test_the_schema_is_json(twofold: Run) -> None:
    for file in ("module", "cluster"):
        assert "$defs" in json.loads(twofold("config", "schema", file)[1])
