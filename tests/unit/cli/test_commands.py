"""The command line as people and scripts see it: words, exit codes, one sentence for an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Daemon, module_object
from twofold.cli import reference
from twofold.cli.output import STATE_EXIT_CODES
from twofold.errors import CommandRefused, StartFailed

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("state", "code"), sorted(STATE_EXIT_CODES.items()))
def test_the_exit_code_tells_the_state(daemon: Daemon, twofold: Run, state: str, code: int) -> None:
    daemon.states["a"] = module_object("a", state)
    assert twofold("state", "files", "-q") == (code, "", "")
    daemon.states["b"] = module_object("b", state)
    assert twofold("-H", "b", "state", "files", "-q") == (code, "", "")


def test_errors_of_state_q_are_ten_and_more(daemon: Daemon, twofold: Run) -> None:
    daemon.silent = {"b"}
    assert twofold("state", "nothing", "-q")[0] == 10
    assert twofold("state", "-q")[0] == 10
    assert twofold("state", "files", "-q", "-H", "*")[0] == 10
    code, out, err = twofold("state", "files", "-q", "-H", "b")
    assert (code, out) == (11, "")
    assert err.splitlines() == ["Node b did not answer within 2 s.", "Is it on?"]


def test_state_shows_both_nodes_side_by_side(daemon: Daemon, twofold: Run) -> None:
    resync = {
        "bytes_done": 512 * 2**20,
        "bytes_total": 2**30,
        "bytes_sent": 3 * 2**20,
        "files_done": 7,
        "bytes_per_s": 50 * 2**20,
        "seconds_left": 10,
    }
    daemon.states["b"] = module_object("b", "SECOND", "Transient", resync=resync, next="Wait.")
    code, out, _ = twofold("state")
    assert code == 0
    head = next(line for line in out.splitlines() if "PRIM" in line)
    assert "SECOND Transient" in head
    assert "━━▶" in head
    shown = " ".join(out.replace("│", " ").split())
    assert "50 % · 512.0 MiB of 1.0 GiB · 7 files · 3.0 MiB sent · 50.0 MiB/s · 10 s left" in shown
    assert "10.77.0.100/24 on a" in out
    assert "b: Wait." in out


def test_the_state_tells_whether_the_copy_from_before_is_kept(daemon: Daemon, twofold: Run) -> None:
    kept = {"kept": False, "text": "no copy is kept: the disk cannot share blocks"}
    daemon.states["b"] = module_object("b", "WAIT", kept_copy=kept)
    shown = " ".join(twofold("state")[1].replace("│", " ").split())
    assert "no copy is kept" in shown


def test_a_silent_node_is_part_of_the_picture(daemon: Daemon, twofold: Run) -> None:
    daemon.silent = {"b"}
    _, out, _ = twofold("state")
    assert "a ● PRIM" in out
    assert "b no answer" in out
    objects = json.loads(twofold("state", "--json")[1])
    assert [(o["node"], o["reachable"]) for o in objects if "error" in o] == [("b", False)]


@pytest.mark.parametrize("words", [("--json", "state", "files"), ("state", "files", "--json")])
def test_json_before_or_after_the_command(daemon: Daemon, twofold: Run, words: Any) -> None:
    objects = json.loads(twofold(*words)[1])
    assert [(o["node"], o["state"]) for o in objects] == [("a", "PRIM"), ("b", "SECOND")]


@pytest.mark.parametrize("words", [("-H", "b", "why", "files"), ("why", "files", "-H", "b")])
def test_nodes_before_or_after_the_command(daemon: Daemon, twofold: Run, words: Any) -> None:
    twofold(*words)
    assert [node for node, command, _ in daemon.asked if command == "why"] == ["b"]


def test_a_refusal_is_one_sentence_and_its_mend(daemon: Daemon, twofold: Run) -> None:
    daemon.refusal = CommandRefused("b is primary", "Use: twofold swap files")
    code, out, err = twofold("prim", "files")
    assert (code, out) == (10, "")
    assert err.splitlines() == ["B is primary.", "Use: twofold swap files"]
    code, out, err = twofold("prim", "files", "--json")
    assert (code, err) == (10, "")
    assert json.loads(out)["error"] == {
        "code": "refused", "text": "b is primary", "mend": "Use: twofold swap files",
    }  # fmt: skip
    daemon.refusal = StartFailed("app ended")
    assert twofold("start", "files")[0] == 13


def test_an_action_tells_what_happens_and_ends_with_the_state(daemon: Daemon, twofold: Run) -> None:
    daemon.states["a"] = module_object("a", "STOP", "NotReady")
    daemon.say("a", "long ago")

    def starts(node: str) -> None:
        daemon.states[node] = module_object(node, "SECOND")
        daemon.say(node, "root asked for a start")

    daemon.after["start"] = starts
    code, out, err = twofold("start", "files")
    assert (code, err) == (0, "")
    assert "a  root asked for a start" in out
    assert "long ago" not in out
    assert "SECOND Ready" in out


def test_an_action_that_leads_nowhere_ends_with_the_daemons_sentence(
    daemon: Daemon, twofold: Run
) -> None:
    waiting = module_object("a", "WAIT", "NotReady", sentence="Waiting for b.", next="Start b.")
    daemon.after["start"] = lambda node: daemon.states.update(a=waiting)
    started = time.monotonic()
    code, _, err = twofold("start", "files")
    assert (code, err.splitlines()) == (14, ["Files: a is WAIT (Waiting for b).", "Start b."])
    assert time.monotonic() - started < 10
    code, _, err = twofold("start", "files", "--timeout", "100ms")
    assert code == 14
    assert "not there after 0.1 s" in err


def test_no_wait_returns_when_accepted(daemon: Daemon, twofold: Run) -> None:
    code, out, _ = twofold("stop", "files", "--no-wait")
    assert code == 0
    assert "a: stop begins" in out


def test_the_node_that_serves_is_stopped_last(daemon: Daemon, twofold: Run) -> None:
    def stops(node: str) -> None:
        daemon.states[node] = module_object(node, "STOP", "NotReady")

    daemon.after["stop"] = stops
    assert twofold("stop", "files", "-H", "*")[0] == 0
    assert [node for node, command, _ in daemon.asked if command == "stop"] == ["b", "a"]


def test_a_swap_that_goes_back_is_said(daemon: Daemon, twofold: Run) -> None:
    code, _, err = twofold("swap", "files")
    assert code == 14
    assert err.startswith("The swap of files was not possible, a serves as before.\n")


def test_start_with_prim_starts_both(daemon: Daemon, twofold: Run) -> None:
    assert twofold("start", "files", "--prim", "a")[0] == 0
    sent = [(n, c) for n, c, _ in daemon.asked if c in ("prim", "start")]
    assert sent == [("a", "prim"), ("b", "start")]


def test_wait(daemon: Daemon, twofold: Run) -> None:
    assert twofold("wait", "files", "PRIM", "ALONE")[0] == 0
    assert twofold("wait", "files", "second", "-H", "b")[0] == 0
    code, _, err = twofold("wait", "files", "STOP", "--timeout", "10ms")
    assert code == 14
    assert "files is not STOP: a PRIM." in err.lower().replace("stop", "STOP").replace(
        "a prim", "a PRIM"
    )
    assert twofold("wait", "files", "RUNNING")[0] == 10
    assert twofold("wait", "files", "PRIM", "--timeout", "5")[0] == 10


def test_the_logs_of_both_nodes_are_merged_by_time(daemon: Daemon, twofold: Run) -> None:
    for node, text in (("a", "one"), ("b", "two"), ("a", "three")):
        daemon.say(node, text)
    code, out, _ = twofold("log", "-H", "*")
    assert code == 0
    assert [line.rsplit(" ", 1)[1] for line in out.splitlines()] == ["one", "two", "three"]
    assert len(json.loads(twofold("log", "--json", "-n", "1")[1])) == 1


def test_a_log_without_an_entry_says_so(daemon: Daemon, twofold: Run) -> None:
    assert twofold("log", "files") == (0, "", "Nothing is noted of module files.\n")
    assert json.loads(twofold("log", "files", "--json")[1]) == []


def test_who_follows_the_log_is_told_once_of_a_silent_node(
    daemon: Daemon, twofold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def wait(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            daemon.say("a", "heard")
        if looks == 4:
            raise KeyboardInterrupt

    daemon.silent = {"b"}
    monkeypatch.setattr("twofold.cli.journal.time.sleep", wait)
    _, out, said = twofold("log", "-H", "*", "-f")
    assert "heard" in out
    assert said.count("b did not answer") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",), ("state", "--nonsense"), ("start",), ("cluster", "join"),
        ("log", "-n", "0"), ("-H", "", "state"), ("prim", "files", "-H", "*"),
        ("module", "add", "files", "--set", "x"), ("config", "schema", "x"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_refused_in_a_sentence(
    daemon: Daemon, twofold: Run, words: tuple[str, ...]
) -> None:
    code, out, err = twofold(*words)
    assert (code, out) == (10, "")
    assert len(err.splitlines()) == 2
    assert "Traceback" not in err


def test_without_a_daemon_the_next_step_is_said(
    twofold: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_ETC", str(tmp_path))
    monkeypatch.setenv("TWOFOLD_RUN", str(tmp_path))
    code, out, err = twofold("state")
    assert (code, out) == (12, "")
    assert "twofold cluster init --address" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "this machine's address is missing"),
        (("--address", "203.0.113.7"), "203.0.113.7 is not an address of this machine"),
        (("--address", "10.0.0.1/24"), "is not an IP address"),
        (("--address", "lan=127.0.0.1", "--address", "127.0.0.2"), "network lan has two addresses"),
        (("--address", "127.0.0.1", "--flow", "fast"), "--flow names 'fast'"),
        (("--address", "127.0.0.1", "--name", "A B"), "'A B' is not a name"),
    ],
)
def test_a_wrong_init_is_refused_and_writes_nothing(
    twofold: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Any, sentence: str
) -> None:
    monkeypatch.setenv("TWOFOLD_ETC", str(tmp_path / "etc"))
    code, out, err = twofold("cluster", "init", *words)
    assert (code, out) == (10, "")
    assert sentence.lower() in err.lower()
    assert not (tmp_path / "etc").exists()


def test_init_prints_a_join_command_that_names_all_networks(
    twofold: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_ETC", str(tmp_path / "etc"))
    monkeypatch.setenv("TWOFOLD_RUN", str(tmp_path / "run"))
    code, out, _ = twofold(
        "cluster", "init", "--address", "lan=127.0.0.1", "--address", "flow=127.0.1.1"
    )
    assert code == 0
    assert "twofold cluster join 127.0.0.1 --token " in out
    assert "--address lan=ADDRESS --address flow=ADDRESS" in out
    assert 'name = "flow"\nflow = true' in (tmp_path / "etc" / "cluster.toml").read_text()
    again = json.loads(twofold("cluster", "invite", "--json")[1])
    assert len(again["token"]) == 53
    assert twofold("cluster", "init", "--address", "127.0.0.1")[0] == 10


def test_it_starts_fast() -> None:
    """Nothing heavy is imported before it is needed (pydantic is Typer's own)."""
    heavy = ["rich.console", "cryptography", "pyroute2", "asyncio", "httpx"]
    program = (
        "import sys; from twofold.cli.main import run; run(['state']); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "src"), "TWOFOLD_RUN": "/nowhere", "TWOFOLD_ETC": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("twofold sta", "state start"),
        ("twofold stop ma", "mariadb"),
        ("twofold log ", "files mariadb"),
    ],
)
def test_the_shell_completes_commands_and_modules(
    tmp_path: Path, words: str, completed: str
) -> None:
    for name in ("mariadb", "files"):
        (tmp_path / "modules" / name).mkdir(parents=True)
    typed = words.split(" ")
    environment = {
        **os.environ, "TWOFOLD_ETC": str(tmp_path), "_TWOFOLD_COMPLETE": "complete_bash",
        "COMP_WORDS": words, "COMP_CWORD": str(len(typed) - 1),
    }  # fmt: skip
    program = Path(sys.executable).parent / "twofold"
    done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == completed.split()


def test_the_command_reference_is_fresh() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert page == reference.page(), (
        "run: .venv/bin/python -m twofold.cli.reference > docs/reference/cli.md"
    )


def test_no_command_pays_for_the_lab_or_the_schemas() -> None:
    text = "import sys; from twofold.cli.app import app; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True
    )
    heavy = ("twofold.lab", "twofold.config.schema", "twofold.config.load")
    assert [name for name in loaded.stdout.split() if name.startswith(heavy)] == []


def test_the_lab_is_a_command_all_the_same(twofold: Run) -> None:
    assert "lab " in twofold("--help")[1]
    code, out, _ = twofold("lab", "--help")
    assert code == 0 and "torture" in out and "install-completion" not in out


def test_a_command_does_not_pay_for_the_others() -> None:
    """The tree has what the first word names; all of it when that is no command."""
    from twofold.cli.app import tree_for

    assert list(tree_for(["state", "--json"]).commands) == ["state"]
    assert list(tree_for(["cluster", "init"]).commands) == ["cluster"]
    whole = set(tree_for(["--help"]).commands)
    assert {"state", "cluster", "k3s"} < whole
    assert set(tree_for([]).commands) == set(tree_for(["no-such-word"]).commands) == whole


@pytest.mark.parametrize("words", [["k3s"], ["--help"], ["state"]])
def test_who_has_read_enough_sees_no_traceback(words: list[str]) -> None:
    """As before `| head`: nobody reads what is printed."""
    reading, writing = os.pipe()
    os.close(reading)
    program = Path(sys.executable).parent / "twofold"
    environment = {**os.environ, "TWOFOLD_RUN": "/nowhere", "TWOFOLD_ETC": "/nowhere"}
    try:
        done = subprocess.run(
            [program, *words], stdout=writing, stderr=subprocess.PIPE, env=environment, text=True,
            timeout=30,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr, done.stderr
