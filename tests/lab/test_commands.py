"""`twofold lab` as a person types it: exit codes, one JSON object, refusals in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from twofold.errors import MissingRequirement
from twofold.lab import hosts, record
from twofold.lab.lab import Lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root"),
]
NAME = f"c{os.getpid()}"


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "twofold", "lab", *words],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**hosts.python_environment(), "TWOFOLD_LAB_NAME": NAME},
        cwd="/",
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = str(tmp_path_factory.mktemp("disks"))
    made = lab("up", NAME, "--no-cluster", "--size", "320M", "--dir", place)
    assert made.returncode == 0, made.stderr
    yield
    Lab.take_down(NAME)


@pytest.mark.usefixtures("up")
def test_exec_passes_output_and_exit_code() -> None:
    done = lab("exec", "a", "--", "sh", "-c", "echo $(hostname) $TWOFOLD_LAB; exit 7")
    assert (done.returncode, done.stdout) == (7, f"a {NAME}\n")
    assert lab("exec", "client", "hostname").stdout == "client\n"


@pytest.mark.usefixtures("up")
def test_status_shows_power_and_cables() -> None:
    assert lab("cut", "b", "--network", "flow").returncode == 0
    assert lab("kill", "a").returncode == 0
    status = json.loads(lab("status", NAME, "--json").stdout)
    hosts_by_name = {each["host"]: each for each in status["hosts"]}
    assert (hosts_by_name["a"]["up"], hosts_by_name["b"]["up"]) == (False, True)
    assert hosts_by_name["b"]["cut"] == ["flow"]
    refused = lab("exec", "a", "true")
    assert refused.returncode != 0
    assert "twofold lab start a" in refused.stderr
    assert lab("start", "a").returncode == 0
    assert lab("heal").returncode == 0
    assert "cut" not in lab("status", NAME).stdout


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kill", "z"], "there is no node 'z'"),
        (["cut", "a", "--network", "wan"], "lan and flow"),
        (["up", NAME], "is there already"),
        (["up", "Bad Name"], "small letters"),
        (["up", "other", "--fs", "btrfs"], "ext4 or xfs"),
        (["up", "other", "--size", "big"], "--size"),
        (["status", "nosuch"], "There is no lab nosuch"),
        (["torture", "--app", "oracle"], "sqlite or kine"),
        (["exec", "a"], "What shall run"),
    ],
)
def test_mistakes_get_a_sentence(words: list[str], said: str) -> None:
    refused = lab(*words)
    assert refused.returncode not in (0, 1), "1 is kept for a run that failed its promise"
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_root_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingRequirement, match="sudo"):
        Lab.make("nobodys")
    assert "nobodys" not in record.names()


def test_down_of_nothing_is_no_failure() -> None:
    done = lab("down", "nosuch")
    assert (done.returncode, done.stdout) == (0, "There was no lab nosuch.\n")
