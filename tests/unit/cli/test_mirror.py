"""`twofold mirror verify`: what it asks, what it tells, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.unit.cli.conftest import Daemon

Run = Callable[..., tuple[int, str, str]]


def result(**more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "state": "done",
        "why": None,
        "repair": False,
        "begun_at_s": 1_700_000_000,
        "seconds": 2.0,
        "files": 12,
        "bytes": 4096,
        "looked_twice": 0,
        "differing": 0,
        "repaired": 0,
        "differences": [],
    }
    return plain | more


def difference(path: str, *what: str, repaired: bool = False) -> dict[str, Any]:
    zones = [[1048576, 2097152]] if "contents" in what else []
    return {"tree": 0, "path": path, "what": list(what), "zones": zones, "repaired": repaired}


def answering(daemon: Daemon, found: dict[str, Any]) -> None:
    for command in ("verify", "verify_result", "verify_stop"):
        daemon.answers[command] = {"module": "files", "node": "a", "verify": found}


def test_equal_copies(daemon: Daemon, twofold: Run) -> None:
    answering(daemon, result())
    code, out, _ = twofold("mirror", "verify", "files")
    assert code == 0
    assert "12 files · 4.0 KiB · 2.0 KiB/s · no difference" in out
    assert ("verify", False) in [(name, body.get("repair")) for _, name, body in daemon.asked]


def test_what_differs_is_told_with_the_mend_and_code_1(daemon: Daemon, twofold: Run) -> None:
    found = [difference("a/large", "contents", "mtime"), difference("b", "missing")]
    answering(daemon, result(differing=3, differences=found))
    code, out, _ = twofold("mirror", "verify", "files")
    assert code == 1
    assert "  a/large: contents, mtime (bytes 1048576+2097152)\n  b: missing\n  and 1 more" in out
    assert "twofold mirror verify files --repair" in out


def test_what_was_repaired_is_no_failure(daemon: Daemon, twofold: Run) -> None:
    found = [difference("b", "missing", repaired=True)]
    answering(daemon, result(repair=True, repaired=1, differing=1, differences=found))
    code, out, _ = twofold("mirror", "verify", "files", "--repair")
    assert code == 0
    assert "b: missing  repaired" in out


def test_one_that_was_cut_short_is_no_proof_that_nothing_differs(
    daemon: Daemon, twofold: Run
) -> None:
    answering(daemon, result(state="cut_short", why="the link was lost"))
    code, out, _ = twofold("mirror", "verify", "files")
    assert code == 14
    assert "cut short (the link was lost)" in out


@pytest.mark.parametrize(
    ("word", "command"), [("--last", "verify_result"), ("--stop", "verify_stop")]
)
def test_looking_at_it_begins_none(daemon: Daemon, twofold: Run, word: str, command: str) -> None:
    answering(daemon, result(state="cut_short", why="it was stopped"))
    code, out, _ = twofold("mirror", "verify", "files", word)
    assert code == 0
    assert "cut short (it was stopped)" in out
    assert [name for _, name, _ in daemon.asked] == [command]


def test_json_is_the_engines_object(daemon: Daemon, twofold: Run) -> None:
    answering(daemon, result(differing=1, differences=[difference("b", "mode")]))
    code, out, _ = twofold("mirror", "verify", "files", "--json")
    assert code == 1
    assert json.loads(out)["differences"][0]["what"] == ["mode"]


def test_the_last_one_is_part_of_the_state(daemon: Daemon, twofold: Run) -> None:
    daemon.states["a"]["verify"] = result()
    assert "no difference" not in twofold("state")[1]
    assert "no difference" in twofold("state", "--verbose")[1]
    daemon.states["a"]["verify"] = result(differing=1, differences=[difference("b", "mode")])
    assert "1 differ" in twofold("state")[1]


def test_status_says_who_has_everything(daemon: Daemon, twofold: Run) -> None:
    traffic = {"bytes_sent": 4096, "operations_sent": 3, "pending_operations": 0}
    daemon.states["a"] |= {"up_to_date": True, "generation": "00ff" * 8, "traffic": traffic}
    daemon.states["b"] |= {"up_to_date": False, "resync": {"bytes_done": 0, "bytes_total": 2048}}
    code, out, _ = twofold("mirror", "status", "files")
    assert code == 0
    assert "a: PRIM, has everything (generation 00ff00ff)" in out
    assert "4.0 KiB in 3 operations; none waits" in out
    assert "b: SECOND, is behind" in out and "resync: 0 B of 2.0 KiB compared" in out
    assert "compared: not yet" in out


def test_status_with_a_silent_node_and_of_no_mirror(daemon: Daemon, twofold: Run) -> None:
    daemon.silent.add("b")
    assert "b: no answer: node b did not answer" in twofold("mirror", "status", "files")[1]
    daemon.states["a"]["kind"] = "light"
    code, _, said = twofold("mirror", "status", "files")
    assert code == 10 and "no mirror" in said


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"looks_at": "nothing", "names": 0, "files": 0, "bytes": 0}, "nothing is in doubt"),
        (
            {"looks_at": "part", "names": 3, "files": 2, "bytes": 1 << 20},
            "3 names and at 1.0 MiB in 2 files",
        ),
        (
            {"looks_at": "everything", "why": "it is new", "files": 7, "bytes": 5 << 30},
            "everything: 5.0 GiB in 7 files; it is new.",
        ),
        (
            {"looks_at": "everything", "files": 7, "bytes": 5 << 30, "complete": False},
            "everything: at least 5.0 GiB in 7 files",
        ),
    ],
)
def test_an_estimate(daemon: Daemon, twofold: Run, found: dict[str, Any], told: str) -> None:
    estimate = {"why": None, "complete": True, **found}
    daemon.answers["estimate"] = {"module": "files", "node": "a", "estimate": estimate}
    code, out, _ = twofold("mirror", "estimate", "files")
    assert (code, told in out) == (0, True), out
    code, out, _ = twofold("mirror", "estimate", "files", "--json")
    assert (code, json.loads(out)) == (0, estimate)


ENDED: dict[str, Any] = {
    "only_doubt": False,
    "files": 4,
    "bytes_looked_at": 2048,
    "bytes_sent": 1024,
    "seconds": 3,
}


def test_a_full_resync_is_followed_to_its_end(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["resync"] = {"module": "files", "node": "a", "begins": "now"}
    running: dict[str, Any] = {"resync": {"bytes_done": 1, "bytes_total": 2048}}
    looks = iter([running, {"last_resync": ENDED}])
    answer = daemon.answer

    def answering_with_progress(node: str, body: Mapping[str, Any]) -> dict[str, Any]:
        begun = any(command == "resync" for _, command, _ in daemon.asked)
        if body["command"] == "state" and node == "a" and begun:
            daemon.states["a"] |= {"resync": None} | next(looks)
        return answer(node, body)

    daemon.answer = answering_with_progress
    code, out, _ = twofold("mirror", "resync", "files", "--full")
    assert code == 0
    assert (
        "2.0 KiB in 4 files and directories were compared in 3 s, 1.0 KiB differed and were sent."
        in out
    )
    looks = iter([{"last_resync": ENDED | {"seconds": 4}}])
    daemon.asked.clear()
    code, out, _ = twofold("mirror", "resync", "files", "--full", "--json")
    assert code == 0
    assert json.loads(out)["resync"]["seconds"] == 4


def test_a_full_resync_waits_for_nobody_who_is_away(daemon: Daemon, twofold: Run) -> None:
    daemon.answers["resync"] = {"module": "files", "node": "a", "begins": "later"}
    code, out, _ = twofold("mirror", "resync", "files", "--full")
    assert (code, "when it comes, everything is compared" in out) == (0, True)
    daemon.answers["resync"] = {"module": "files", "node": "a", "begins": "now"}
    code, out, _ = twofold("mirror", "resync", "files", "--full", "--no-wait", "--json")
    assert json.loads(out) == {"module": "files", "begins": "now", "resync": None}


def test_a_resync_of_a_part_is_no_command(daemon: Daemon, twofold: Run) -> None:
    code, _, said = twofold("mirror", "resync", "files")
    assert (code, "--full" in said) == (10, True)
    assert not daemon.asked
