"""The console in Debian's Chromium, in a lab: what each role sees and does, live.

Run by `make test-browser`. Pictures of every page come to `.cache/console` of the checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from twofold.lab.cluster import Cluster
from twofold.lab.lab import Lab
from twofold.lab.workloads import SqliteWorkload

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / ".cache" / "console"
PASSWORD = "four words in a row"
URL = "https://10.77.0.1:9010"

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.fuse,
    pytest.mark.timeout(560),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root"),
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="needs chromium"),
]


@dataclass
class Site:
    lab: Lab
    cluster: Cluster

    def visit(
        self, story: str, user: str, moves: dict[str, Callable[[], None]] | None = None
    ) -> dict[str, Any]:
        """One story in the client's browser; `moves` is what happens where it waits."""
        argv = [sys.executable, "-m", "tests.browser.visitor", story, URL, user]
        argv += [PASSWORD, str(PICTURES)]
        shell = ["sh", "-c", f'cd {ROOT} && exec "$@"', "visit", *argv]
        visitor = self.lab.popen(
            "client", shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert visitor.stdin is not None
        assert visitor.stdout is not None
        said: dict[str, Any] = {}
        for line in visitor.stdout:
            said = json.loads(line)
            if "waits" in said:
                (moves or {})[said["waits"]]()
                visitor.stdin.write("\n")
                visitor.stdin.flush()
        _, errors = visitor.communicate(timeout=30)
        assert visitor.returncode == 0, errors[-3000:]
        return said


@pytest.fixture(scope="module")
def site() -> Generator[Site]:
    name = f"browser{os.getpid()}"
    lab = Lab.make(name, share=(ROOT,))
    try:
        cluster = Cluster(lab)
        cluster.form()
        SqliteWorkload().install(cluster)
        cluster.twofold("a", "prim", "demo")
        cluster.twofold("b", "start", "demo")
        cluster.wait_both_ready("demo")
        for role in ("admin", "control", "monitor"):
            words = ["user", "add", f"the-{role}", "--role", role, "--password-stdin"]
            lab.exec("a", ["twofold", *words], stdin=f"{PASSWORD}\n")
        yield Site(lab, cluster)
    finally:
        lab.down()


def test_an_administrator_swaps_stops_starts_and_sees_a_power_cut(site: Site) -> None:
    moves = {
        "power cut of b": lambda: site.lab.kill("b"),
        "power for b": lambda: site.lab.start("b"),
    }
    assert site.visit("admin", "the-admin", moves) == {"done": "admin", "errors": []}


def test_a_configuration_is_refused_applied_overtaken_and_taken_back(site: Site) -> None:
    moves = {"another edit of demo": lambda: _another_edit(site)}
    assert site.visit("configuration", "the-admin", moves) == {
        "done": "configuration",
        "errors": [],
    }


def _another_edit(site: Site) -> None:
    file = "/etc/twofold/modules/demo/module.toml"
    site.lab.exec("b", ["sed", "-i", "s/for the browser/for the other one/", file])
    site.cluster.twofold("b", "module", "apply", "demo", "-m", "somebody else")


def test_a_module_comes_from_the_library(site: Site) -> None:
    moves = {"the directory of share": lambda: _make_directory(site)}
    assert site.visit("library", "the-admin", moves) == {"done": "library", "errors": []}


def _make_directory(site: Site) -> None:
    for node in ("a", "b"):
        site.lab.exec(node, ["mkdir", "-p", "/srv/share"])


def test_users_and_tokens(site: Site) -> None:
    assert site.visit("people", "the-admin") == {"done": "people", "errors": []}


def test_a_snapshot_is_downloaded(site: Site) -> None:
    assert site.visit("snapshot", "the-admin") == {"done": "snapshot", "errors": []}


def test_every_page_is_drawn_in_every_look(site: Site) -> None:
    assert site.visit("pictures", "the-admin") == {"done": "pictures", "errors": []}


@pytest.mark.parametrize("role", ["control", "monitor"])
def test_each_role_has_what_is_its_own(site: Site, role: str) -> None:
    assert site.visit(role, f"the-{role}") == {"done": role, "errors": []}
