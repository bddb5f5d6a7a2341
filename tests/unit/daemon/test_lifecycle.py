"""From configuration to what the machine and the engine are given."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.engine_model import EngineModel
from tests.fakes.ports import Address, Application, Engine
from twofold.adapters.clock import Clock
from twofold.config.load import Module, NodeConfig, parse_cluster, parse_module
from twofold.config.places import Places
from twofold.daemon.journal import Journal
from twofold.daemon.lifecycle import (
    Lifecycle,
    Running,
    check_supported,
    mirror_config,
    settings_of,
)
from twofold.daemon.partners import removed
from twofold.daemon.parts import Parts
from twofold.errors import OperatorError
from twofold.machine.events import PrimAsked, StartAsked
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


THIRD = '[[node]]\nname = "c"\naddresses = { lan = "10.0.0.3", flow = "fd00::3" }\n'
AWAY = MODULE.replace("[module]", '[module]\nnodes = ["a", "c"]').replace('"b"', '"c"')


def test_the_peer_is_the_modules_own_and_not_the_clusters_first() -> None:
    three = NodeConfig(PLACES.etc, "a", parse_cluster(CLUSTER + THIRD))
    config = mirror_config(three, module(AWAY), PLACES)
    assert (config["peer"], config["peer_addresses"]) == ("c", ["[fd00::3]:9100", "10.0.0.3:9100"])
    assert settings_of(three, module(AWAY)).peer == "c"
    with pytest.raises(OperatorError, match=r"lives on two nodes, and this cluster has 3"):
        settings_of(three, module())


def test_the_engine_is_given_the_flow_first_and_ipv6_in_brackets() -> None:
    config = mirror_config(node(), module(), PLACES)
    assert config["listen"] == ["[fd00::1]:9100", "10.0.0.1:9100"]
    assert config["peer_addresses"] == ["[fd00::2]:9100", "10.0.0.2:9100"]
    assert config["trees"] == [{"path": "/srv/files"}]
    assert config["state_dir"] == "/var/lib/twofold/files"
    assert (config["sync"], config["peer_timeout_ms"]) == ("fsync", 2000)
    assert config["resync_limit_bytes_per_s"] is None
    assert config["require"] == []
    assert config["exclude"] == []
    assert config["dirty_map"] is True


def test_a_module_with_excluded_paths_has_no_map_of_what_changed() -> None:
    text = '[replication]\ndirectories = ["/srv/files"]\nport = 9100\n'
    excluding = module(text + 'exclude = ["*.tmp"]\n')
    assert mirror_config(node(), excluding, PLACES)["dirty_map"] is False
    without = module(text + "dirty_map = false\n")
    assert mirror_config(node(), without, PLACES)["dirty_map"] is False


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


# --- a configuration that changes while the module runs -------------------------------------------


class Site:
    """A node's directories, with the module `shop`, which runs nothing of its own."""

    def __init__(self, root: Path, cluster: str = CLUSTER) -> None:
        self.places = Places(root / "etc", root / "var", root / "run")
        self.directory = self.places.etc / "modules" / "shop"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.engine = EngineModel("a")
        self.said = Journal(root / "journal.sqlite")
        self.engine_configs: list[dict[str, object]] = []
        self.joins(cluster)

    def joins(self, cluster: str) -> None:
        """What runs lives on, as when a membership begins."""
        self.node = NodeConfig(self.places.etc, "a", parse_cluster(cluster))
        self.lifecycle = Lifecycle(
            self.node, self.places, self._parts, clock=Clock(), journal=self.said,
            on_report=lambda name, urgent: None,
        )  # fmt: skip

    def _parts(self, node: NodeConfig, module: Module, facts: object) -> Parts:
        story: list[str] = []
        if module.config.module.kind == "mirror":
            self.engine_configs.append(mirror_config(node, module, self.places))
        return Parts(Engine(self.engine, story), Application(story), Address(story), ())

    async def reaches(self, state: str) -> None:
        async with asyncio.timeout(5):
            while self.lifecycle.state_of("shop") != state:
                await asyncio.sleep(0.01)

    async def has(self, description: str) -> Running:
        text = f'[module]\nkind = "light"\ndescription = "{description}"\n'
        (self.directory / "module.toml").write_text(text)
        await self.lifecycle.reload()
        return self.lifecycle.running["shop"]


async def test_a_change_that_is_taken_back_is_not_waited_for_any_more(tmp_path: Path) -> None:
    site = Site(tmp_path)
    running = await site.has("one")
    try:
        running.driver.post(StartAsked())
        await site.reaches("UP")
        assert (await site.has("two")).pending is not None
        running = await site.has("one")
        assert running.pending is None
        assert running.driver.digest == running.module.digest
    finally:
        await site.lifecycle.close()


# --- a node that is removed while the module runs ---------------------------------------------

ALONE = CLUSTER.partition('[[node]]\nname = "b"')[0]
NEW = ALONE + '[[node]]\nname = "c"\naddresses = { lan = "10.0.0.3", flow = "fd00::3" }\n'


@pytest.mark.parametrize("names", ["", 'nodes = ["a", "b"]\n'], ids=["all nodes", "named"])
async def test_what_runs_is_watched_on_when_its_partner_is_removed(
    tmp_path: Path, names: str
) -> None:
    site = Site(tmp_path)
    text = MODULE.replace('default_primary = "b"\n', names).replace('"2s"', '"1s"')
    (site.directory / "module.toml").write_text(text)
    await site.lifecycle.reload()
    site.lifecycle.running["shop"].driver.post(PrimAsked())
    await site.reaches("ALONE")
    await site.lifecycle.close()
    site.joins(ALONE)
    try:
        await site.lifecycle.reload()
        assert site.lifecycle.broken == {}
        await site.reaches("ALONE")
        assert site.lifecycle.running["shop"].driver.view.settings.peer == "b"
        assert site.engine_configs[-1] == site.engine_configs[0], "its engine can be started again"
    finally:
        await site.lifecycle.close()


async def test_a_new_partner_takes_the_place_of_the_removed_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.directory / "module.toml").write_text(MODULE.replace('default_primary = "b"\n', ""))
    for cluster, peer in ((CLUSTER, "b"), (ALONE, "b"), (NEW, "c"), (ALONE, "c")):
        site.joins(cluster)
        await site.lifecycle.reload()
        assert site.lifecycle.running["shop"].driver.view.settings.peer == peer
        assert bool(removed(site.node, peer)) == (cluster == ALONE)
        await site.lifecycle.close()


async def test_a_mirror_that_never_had_a_partner_says_that_it_needs_one(tmp_path: Path) -> None:
    site = Site(tmp_path, ALONE)
    (site.directory / "module.toml").write_text(MODULE)
    await site.lifecycle.reload()
    assert "needs a second node" in str(site.lifecycle.broken["shop"])
    other = ALONE.replace("9f0c1d2e", "8e0c1d2e")
    site.joins(CLUSTER)
    await site.lifecycle.reload()
    await site.lifecycle.close()
    site.joins(other)
    await site.lifecycle.reload()
    assert "shop" in site.lifecycle.broken, "a partner in another cluster is none"
