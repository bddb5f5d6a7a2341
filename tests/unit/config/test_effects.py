"""What a change does to what runs is read from a table; examples are valid; diffs are readable."""

from __future__ import annotations

import pytest

from twofold.config.difference import differences
from twofold.config.effects import When, cluster_effects, module_effects
from twofold.config.example import MODELS, example
from twofold.config.load import parse_cluster, parse_module
from twofold.config.schema import Replication

BASE = """
[module]
failover = true
[replication]
directories = ["/srv/files"]
port = 9100
[[service]]
name = "web"
command = ["/usr/bin/web", "${level}"]
[[checker]]
name = "probe"
kind = "tcp"
address = "127.0.0.1:1"
interval = "2s"
failures = 3
[variables]
level = "1"
"""


def when_of(old: str, new: str) -> dict[str, When]:
    assert old in BASE
    before, after = BASE, BASE.replace(old, new)
    effects = module_effects(
        {"module.toml": (0o644, before.encode())}, {"module.toml": (0o644, after.encode())}, "files"
    )
    return {e.key: e.when for e in effects}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("failover = true", "failover = false", {"module.failover": When.NOW}),
        ("9100", "9101", {"replication.port": When.STOPPED}),
        ("port", 'resync_limit = "1MiB"\nport', {"replication.resync_limit": When.NOW}),
        ("port", 'rescue_limit = "1MiB"\nport', {"replication.rescue_limit": When.NEXT_START}),
        (
            'level = "1"',
            'level = "2"',
            {"variables.level": When.NOW, "service.web.command": When.NEXT_START},
        ),
        ("failover = true", "# nothing else", {"module.failover": When.NOW}),
        ("failures = 3", "failures = 5", {"checker.probe.failures": When.NOW}),
        ('interval = "2s"', 'interval = "9s"', {"checker.probe.interval": When.NOW}),
        (
            'address = "127.0.0.1:1"',
            'address = "127.0.0.1:2"',
            {"checker.probe.address": When.NEXT_START},
        ),
        (
            'name = "probe"',
            'name = "other"',
            {
                f"checker.{name}.{key}": When.NEXT_START
                for name in ("probe", "other")
                for key in ("name", "kind", "address", "interval", "failures")
            },
        ),
        ("[module]", "# a comment\n[module]", {}),
    ],
)
def test_when_a_change_counts(old: str, new: str, wanted: dict[str, When]) -> None:
    assert when_of(old, new) == wanted


def test_scripts_count_too() -> None:
    before = {"module.toml": (0o644, b""), "scripts/x": (0o755, b"1")}
    after = {"module.toml": (0o644, b""), "scripts/x": (0o755, b"2")}
    assert [(e.key, e.when) for e in module_effects(before, after, "m")] == [
        ("scripts.x", When.NOW)
    ]


def test_who_is_in_the_cluster_is_not_changed_by_hand() -> None:
    text = example("cluster")
    renamed = text.replace('name = "a"', 'name = "z"')
    assert When.NEVER in {e.when for e in cluster_effects(text, renamed)}
    assert cluster_effects(text, text) == []


def test_the_examples_are_right_and_name_every_key() -> None:
    parse_module("example", example("module"))
    parse_cluster(example("cluster"))
    assert 'name = "a"' in example("node")
    assert set(MODELS) == {"module", "cluster", "node"}
    for name, field in Replication.model_fields.items():
        assert f"{field.alias or name} = " in example("module")


def test_differences_of_texts_modes_and_bytes() -> None:
    one = {"a": (0o644, b"x\n"), "b": (0o644, b"same"), "c": (0o644, b"\xff")}
    two = {"a": (0o755, b"y\n"), "b": (0o644, b"same"), "c": (0o644, b"\xfe"), "d": (0o644, b"")}
    found = {d.file: d for d in differences(one, two)}
    assert list(found) == ["a", "c", "d"]
    assert found["a"].lines.startswith("mode 644 becomes 755\n--- a (before)\n+++ a (after)\n")
    assert "1 bytes become 1 bytes" in found["c"].lines
    assert found["d"].what == "added"
