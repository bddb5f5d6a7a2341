"""The main job, end to end, as the README promises it: real engine, daemons and power cuts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twofold.lab import disks, hosts, record, requirements

pytestmark = [
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root"),
    pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse"),
]
# Heartbeat time-out, the application's start, and the bound that the issue gives.
OUTAGE_AT_MOST_MS = 5000


def lab(*words: str) -> tuple[dict[str, Any], str]:
    """One `twofold lab` command with --json: its object, and the account it told."""
    command = [sys.executable, "-m", "twofold", "lab", *words, "--json"]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=hosts.python_environment(),
    )
    try:
        said, told = run.communicate(timeout=250)
    except BaseException:
        # Ended by force it could not take its lab down.
        run.terminate()
        run.communicate(timeout=40)
        raise
    assert run.returncode == 0, told + said
    return json.loads(said), told


def nothing_left(name: str) -> None:
    assert name not in record.names()
    assert hosts.leftover_inits(name) == []
    assert f"/{name}/" not in disks.run("losetup", "--all")
    assert f"/{name}/" not in Path("/proc/self/mountinfo").read_text()


def test_demo_loses_nothing_and_leaves_nothing() -> None:
    name = f"d{os.getpid()}"
    outcome, told = lab("demo", "--once", "--name", name, "--size", "512M")
    assert outcome["lost"] == 0
    assert outcome["identical"]
    assert outcome["acknowledged"] > 50
    assert [each["event"] for each in outcome["events"]] == ["swap", "power cut"]
    assert all(0 < each < OUTAGE_AT_MOST_MS for each in outcome["outage_ms"])
    assert "lost its power" in told
    nothing_left(name)


def test_power_cuts_lose_no_row() -> None:
    name = f"s{os.getpid()}"
    words = ["--app", "sqlite", "--kills", "5", "--seed", "11", "--name", name]
    result, told = lab("torture", *words, "--size", "1G")
    assert (result["kills"], result["lost"], result["identical"]) == (5, 0, True), told
    assert all(each < OUTAGE_AT_MOST_MS for each in result["outage_ms"]), told
    assert result["problems"] == [], told
    nothing_left(name)


@pytest.mark.long  # a minute, and the suite above has the same cuts without the cables
@pytest.mark.skipif(bool(requirements.lab_lacks("xfs")), reason="no mkfs.xfs")
def test_cables_and_the_loss_of_both_nodes_lose_no_row_on_xfs() -> None:
    name = f"x{os.getpid()}"
    words = ["--app", "sqlite", "--kills", "2", "--seed", "5", "--cables", "--blackouts"]
    result, told = lab("torture", *words, "--name", name, "--size", "1G", "--fs", "xfs")
    assert (result["kills"], result["lost"], result["identical"]) == (2, 0, True), told
    assert len(result["cable_pauses_ms"]) == len(result["blackouts_ms"]) == 2
    assert result["problems"] == [], told
    nothing_left(name)


@pytest.mark.skipif(bool(requirements.kine_lacks()), reason="needs MariaDB and kine")
def test_power_cuts_lose_no_key() -> None:
    name = f"k{os.getpid()}"
    words = ["--app", "kine", "--kills", "3", "--seed", "4", "--name", name]
    result, told = lab("torture", *words, "--size", "1G")
    assert (result["lost"], result["revisions_back"], result["identical"]) == (0, 0, True), told
    assert result["acknowledged"] > 100
    nothing_left(name)
