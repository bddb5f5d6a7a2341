"""`twofold mirror rescue`: what a person is shown, asked and told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.cli.conftest import Daemon
from twofold.errors import CommandRefused

Run = Callable[..., tuple[int, str, str]]

NAME = "20240301T000000Z-00000000000000ff"
RESCUE: dict[str, Any] = {
    "id": NAME,
    "node": "a",
    "peer": "b",
    "generation": "00000000000000ff",
    "reason": "diverged",
    "state": "complete",
    "begun_s": 1_709_251_200,
    "ended_s": 1_709_251_260,
    "files": 2,
    "bytes": 3 << 20,
    "left_out_bytes": 0,
    "trees": ["/srv/files"],
    "path": "/var/lib/twofold/files/rescue/" + NAME,
}
FOUND = {"tree": 0, "path": "dir/odd %ff", "kind": "regular", "size": 2048, "saved": "whole"}


def test_the_list_says_why_and_how_much(daemon: Daemon, twofold: Run) -> None:
    damaged = {"id": NAME, "state": "damaged", "text": "about.json: it is empty"}
    daemon.answers["rescue_list"] = {"module": "files", "rescues": [RESCUE, damaged]}
    code, out, _ = twofold("mirror", "rescue", "list", "files")
    assert code == 0
    assert NAME in out and "both nodes went on alone" in out and "3.0 MiB" in out
    assert "damaged" in out and "it is empty" in out
    assert json.loads(twofold("mirror", "rescue", "list", "files", "--json")[1])["rescues"]
    daemon.answers["rescue_list"] = {"module": "files", "rescues": []}
    out = twofold("mirror", "rescue", "list", "files", "-H", "*")[1]
    assert out.count("No rescues") == 2 and "Node b:" in out


def test_one_rescue_is_shown_with_its_files(daemon: Daemon, twofold: Run) -> None:
    shown = RESCUE | {"names": [FOUND], "names_total": 5}
    daemon.answers["rescue_show"] = {"module": "files", "rescue": shown}
    out = twofold("mirror", "rescue", "show", "files", NAME)[1]
    assert "dir/odd %ff  2.0 KiB, whole" in out and "... 4 more" in out
    shown |= {"state": "incomplete", "ended_s": None, "left_out_bytes": 1024}
    daemon.answers["rescue_show"] = {"module": "files", "rescue": shown}
    out = twofold("mirror", "rescue", "show", "files", NAME)[1]
    assert "Incomplete" in out and "1.0 KiB had no room and are lost" in out


def test_extracting_says_what_is_not_as_it_was(daemon: Daemon, twofold: Run) -> None:
    done = {
        "into": "/new", "files": 3, "others": 1, "attributes_only": 2,
        "partial": ["image"], "left_out": [], "damaged": [],
    }  # fmt: skip
    daemon.answers["rescue_extract"] = {"module": "files", "extracted": done}
    code, out, _ = twofold("mirror", "rescue", "extract", "files", NAME, "--into", "new")
    assert code == 0 and "3 files and 1 other names are in /new" in out
    assert "image: saved in parts" in out
    assert daemon.asked[-1][2]["into"].startswith("/"), "the daemon has another directory"
    daemon.answers["rescue_extract"]["extracted"] = done | {"damaged": ["x"]}
    code, out, _ = twofold("mirror", "rescue", "extract", "files", NAME, "--into", "/new")
    assert code == 12 and "x: DAMAGED" in out
    code, _, err = twofold("-H", "*", "mirror", "rescue", "extract", "files", NAME, "--into", "/x")
    assert code == 10 and "lies on one node" in err


def test_deleting_asks_and_says_what_is_lost(
    daemon: Daemon, twofold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["rescue_show"] = {"module": "files", "rescue": RESCUE}
    daemon.answers["rescue_delete"] = {"module": "files", "deleted": {"id": NAME, "bytes": 1024}}
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    code, out, err = twofold("mirror", "rescue", "delete", "files", NAME)
    assert (code, err.splitlines()[-1]) == (130, "Nothing was done.")
    assert "2 files (3.0 MiB) that are nowhere else are lost" in out + err
    assert not [c for _, c, _ in daemon.asked if c == "rescue_delete"]
    code, out, _ = twofold("mirror", "rescue", "delete", "files", NAME, "--yes")
    assert code == 0 and "1.0 KiB are free again" in out


def test_a_refusal_is_a_sentence(daemon: Daemon, twofold: Run) -> None:
    daemon.refusal = CommandRefused("there is no rescue 'x' on this node: there is none here")
    code, _, err = twofold("mirror", "rescue", "show", "files", "x")
    assert code == 10 and "no rescue 'x'" in err
