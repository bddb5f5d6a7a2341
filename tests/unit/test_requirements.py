"""The list of requirements: a good machine misses nothing, each lack is said with its mend."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from twofold import requirements
from twofold.requirements import LAB, PURPOSES, RUN, SETUP, Machine, judge, kernel_version

GOOD = Machine(
    uid=0,
    capabilities=(1 << 41) - 1,
    system="Linux",
    kernel="6.1.0-28-amd64",
    python=(3, 11),
    fuse="ok",
    namespaces="ok",
    free_mib=50_000,
    free_where="/",
    has_ip_command=True,
    has_apt=True,
)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_good_machine_misses_nothing(purpose: str) -> None:
    assert [f for f in judge(GOOD, purpose) if not f.ok] == []


@pytest.mark.parametrize(
    ("machine", "purpose", "name", "words"),
    [
        (replace(GOOD, uid=1000), SETUP, "root", "sudo"),
        (replace(GOOD, fuse="absent"), RUN, "/dev/fuse", "modprobe fuse"),
        (replace(GOOD, kernel="5.10.0-8-amd64"), RUN, "kernel", "5.15"),
        (replace(GOOD, python=(3, 9)), SETUP, "Python", "3.11"),
        (replace(GOOD, free_mib=100), SETUP, "free disk space", "4096 MiB"),
        (replace(GOOD, capabilities=0), LAB, "administrator capabilities", "privileged"),
        (replace(GOOD, namespaces="cannot be made (EPERM)"), LAB, "network namespaces", "lab"),
        (replace(GOOD, has_ip_command=False), LAB, "the ip command", "iproute2"),
        (replace(GOOD, has_apt=False), SETUP, "apt-get", "by hand"),
        (replace(GOOD, system="Darwin"), RUN, "Linux", "Linux only"),
    ],
)
def test_each_lack_is_named_with_its_mend(
    machine: Machine, purpose: str, name: str, words: str
) -> None:
    lacking = [f for f in judge(machine, purpose) if not f.ok]
    assert [f.name for f in lacking] == [name]
    assert words in lacking[0].sentence()


def test_kernel_release_texts_are_understood() -> None:
    assert kernel_version("6.18.44-fc-v769") == (6, 18)
    assert kernel_version("5.15-rc1") == (5, 15)
    assert kernel_version("5.15.0-91-generic") == (5, 15)
    assert kernel_version("odd") == (0, 0)


@pytest.mark.timeout(20)
def test_it_runs_alone_before_anything_is_installed() -> None:
    program = Path(requirements.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program), "nonsense"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "none of: setup, run, lab" in done.stderr
