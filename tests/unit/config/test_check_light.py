"""A light module has nothing that needs a second node; each such key is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.config.check_light import light_problems
from twofold.config.load import Module, parse_module

GOOD = """
[module]
kind = "light"
max_loops = 5
[[address]]
ip = "10.77.0.100/24"
[[service]]
name = "web"
command = ["/bin/web"]
[[checker]]
name = "answers"
kind = "tcp"
address = "127.0.0.1:80"
action = "restart"
"""


def sentences(text: str) -> list[str]:
    module = Module("web", parse_module("web", text), Path("/etc/twofold/modules/web"), "")
    return [f"{p.sentence()}. {p.mend}" for p in light_problems(module)]


def test_a_right_one_has_no_problem() -> None:
    assert sentences(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "[[address]]",
            '[replication]\ndirectories = ["/srv/x"]\n[[address]]',
            "replicates nothing",
        ),
        ("max_loops = 5", 'arbitration = "witness"', "arbitration is about two nodes"),
        ("max_loops = 5", 'default_primary = "a"', "Leave default_primary out"),
        ("max_loops = 5", "failover = false", "Leave failover out"),
        ('["/bin/web"]', '["/bin/web"]\nside = "second"', "service 'web' is for a secondary"),
        ('"restart"', '"failover"', "checker 'answers' cannot hand over"),
    ],
)
def test_what_needs_two_nodes_is_refused(old: str, new: str, words: str) -> None:
    found = sentences(GOOD.replace(old, new))
    assert len(found) == 1 and words in found[0], found
