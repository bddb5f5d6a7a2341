"""From configuration to what the machine and the engine are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.config.load import Module, NodeConfig, parse_cluster, parse_module
from twofold.config.places import Places
from twofold.daemon.lifecycle import check_supported, mirror_config, settings_of
from twofold.errors import OperatorError
from twofold.machine.model import Kind

CLUSTER = """
[cluster]
id = "9f0c1d2e-0000-4000-8000-000000000001"
[heartbeat]
timeout = "2s"
[[network]]
name = "lan"
[[network]]
name = "flow"
flow = true
[[node]]
name = "a"
addresses = { lan = "10.0.0.1", flow = "fd00::1" }
[[node]]
name = "b"
addresses = { lan = "10.0.0.2", flow = "fd00::2" }
"""
MODULE = """
[module]
default_primary = "b"
max_loops = 5
[replication]
directories = ["/srv/files"]
port = 9100
sync = "fsync"
"""
PLACES = Places(Path("/etc/twofold"), Path("/var/lib/twofold"), Path("/run/twofold"))


def node() -> NodeConfig:
    return NodeConfig(PLACES.etc, "a", parse_cluster(CLUSTER))


def module(text: str = MODULE) -> Module:
    return Module("files", parse_module("files", text), PLACES.etc / "modules" / "files", "d")


def test_the_engine_is_given_the_flow_first_and_ipv6_in_brackets() -> None:
    config = mirror_config(node(), module(), PLACES)
    assert config["listen"] == ["[fd00::1]:9100", "10.0.0.1:9100"]
    assert config["peer_addresses"] == ["[fd00::2]:9100", "10.0.0.2:9100"]
    assert config["trees"] == [{"path": "/srv/files"}]
    assert config["state_dir"] == "/var/lib/twofold/files"
    assert (config["sync"], config["peer_timeout_ms"]) == ("fsync", 2000)
    assert config["resync_limit_bytes_per_s"] is None
    assert config["require"] == []


def test_a_module_without_port_is_refused_in_a_sentence() -> None:
    with pytest.raises(OperatorError, match=r"has no \[replication\] with a port"):
        mirror_config(node(), module('[replication]\ndirectories = ["/srv/files"]\n'), PLACES)


def test_the_machine_is_given_the_timeout_and_the_loops() -> None:
    settings = settings_of(node(), module())
    assert (settings.node, settings.peer) == ("a", "b")
    assert (settings.heartbeat_timeout_s, settings.max_loops) == (2.0, 5)
    assert settings.default_primary == "b"


def test_what_is_not_there_yet_says_so() -> None:
    check_supported(module('[module]\nkind = "light"\n'))
    with pytest.raises(OperatorError, match="not supported yet"):
        check_supported(module('[module]\nkind = "farm"\n'))


def test_the_machine_is_told_its_kind_and_what_it_waits_for() -> None:
    text = '[module]\nkind = "light"\n'
    text += '[[checker]]\nname = "gateway"\nkind = "tcp"\n'
    text += 'address = "10.0.0.254:80"\naction = "wait"\n'
    settings = settings_of(node(), module(text))
    assert (settings.kind, settings.waits_for) == (Kind.LIGHT, ("gateway",))
