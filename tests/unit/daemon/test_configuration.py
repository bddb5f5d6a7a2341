"""Two nodes' configuration commands in one process: all nodes or none, checked on each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.daemon.two_configured import SET, TEXT, Node, two_nodes
from twofold.config.load import load_module, module_names
from twofold.daemon import configuration
from twofold.daemon.configuration import Configuration
from twofold.daemon.membership import Surroundings
from twofold.errors import CommandRefused, ConfigError
from twofold.wire.files import pack

__all__ = ["two_nodes"]


def modules(*nodes: Node) -> list[tuple[str, ...]]:
    return [module_names(n.etc) for n in nodes]


async def test_a_module_is_added_on_both_nodes_with_a_port(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    answer = await a.add()
    assert (answer["nodes"], answer["port"]) == (["a", "b"], 9100)
    assert load_module(a.etc, "files").digest == load_module(b.etc, "files").digest
    assert (a.reloads, b.reloads) == (1, 1)
    second = await b.add("two", TEXT.replace("/srv/files", "/srv/two").replace("${address}",
                         "10.77.0.101/24"))  # fmt: skip
    assert second["port"] == 9101
    with pytest.raises(CommandRefused, match="there is a module 'files' already"):
        await a.add()


async def test_a_directory_missing_on_the_other_node_refuses_all(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.directories = {}
    with pytest.raises(ConfigError, match="'/srv/files' does not exist on node b"):
        await a.add()
    assert modules(a, b) == [(), ()]


async def test_a_silent_node_refuses_all(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.up = False
    with pytest.raises(CommandRefused, match="node b cannot be reached; nothing was changed"):
        await a.add()
    assert modules(a, b) == [(), ()]


async def test_a_write_that_fails_is_undone_on_the_others(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    before = load_module(a.etc, "files").digest
    b.fails_to_write = True
    with pytest.raises(CommandRefused, match="node b could not write"):
        await a.ask("module_apply", module="files", set={"address": "10.77.0.101/24"})
    assert load_module(a.etc, "files").digest == before
    with pytest.raises(CommandRefused, match="node b could not write"):
        await a.add("two", TEXT.replace("/srv/files", "/srv/two"), set={"address": "10.77.0.9/24"})
    assert modules(a, b) == [("files",), ("files",)]


async def test_only_the_failed_write_is_undone(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    await a.ask("module_apply", module="files", set={"address": "10.77.0.101/24"})
    applied = load_module(b.etc, "files").digest
    b.fails_to_write = True  # b keeps what it has, and an older version aside
    with pytest.raises(CommandRefused):
        await a.ask("module_apply", module="files", set={"address": "10.77.0.102/24"})
    assert load_module(a.etc, "files").digest == applied
    assert load_module(b.etc, "files").digest == applied


async def test_a_text_that_is_none_is_refused(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    files = pack({"module.toml": (0o644, b"\xff\xfe")})
    with pytest.raises(ConfigError, match="not UTF-8"):
        await a.ask("module_add", module="files", files=files)


async def test_apply_spreads_what_was_edited(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    file = a.etc / "modules" / "files" / "module.toml"
    file.write_text(file.read_text() + "[module]\nfailover = false\n")
    assert [d["file"] for d in (await a.ask("config_diff"))["differences"]] == [
        "modules/files/module.toml"
    ]
    await a.ask("module_apply", module="files")
    assert not load_module(b.etc, "files").config.module.failover
    assert (await a.ask("config_diff"))["differences"] == []


async def test_new_files_keep_values_and_port(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    await a.ask("module_apply", module="files", set={"address": "10.77.0.101/24"})
    newer = pack({"module.toml": (0o644, f"# newer\n{TEXT}".encode()), "scripts/x": (0o755, b"")})
    await a.ask("module_apply", module="files", files=newer)
    module = load_module(b.etc, "files")
    assert module.config.addresses[0].ip == "10.77.0.101/24"
    assert module.config.replication is not None
    assert module.config.replication.port == 9100
    assert (module.scripts / "x").exists()


async def test_what_cannot_change_while_running_is_refused(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    b.states["files"] = "PRIM"
    file = a.etc / "modules" / "files" / "module.toml"
    file.write_text(file.read_text().replace("9100", "9105"))
    with pytest.raises(ConfigError, match="cannot change while the module is PRIM"):
        await a.ask("module_apply", module="files")
    with pytest.raises(ConfigError, match="'files' is PRIM on node b, it cannot be removed"):
        await a.ask("module_remove", module="files")
    b.states.clear()
    await a.ask("module_apply", module="files")
    await a.ask("module_remove", module="files")
    assert modules(a, b) == [(), ()]


async def test_where_it_lives_may_be_written_down_while_it_runs(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    b.states["files"] = a.states["files"] = "PRIM"
    file = a.etc / "modules" / "files" / "module.toml"
    file.write_text('[module]\nnodes = ["b", "a"]\n' + file.read_text())
    await a.ask("module_apply", module="files")
    assert load_module(b.etc, "files").config.module.nodes == ("b", "a")
    assert (await a.ask("cluster_state"))["homes"] == {"files": ["b", "a"]}
    file.write_text(file.read_text().replace('"b", "a"', '"a", "z"'))
    with pytest.raises(ConfigError, match=r"module.nodes cannot change while the module is PRIM"):
        await a.ask("module_apply", module="files")


async def test_the_nodes_may_be_given_when_a_module_is_added(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    answer = await a.add(homes=["a", "b"])
    assert answer["homes"] == ["a", "b"]
    assert load_module(b.etc, "files").config.module.nodes == ("a", "b")


async def test_the_limit_of_a_resync_may_change_while_running(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    b.states["files"] = "PRIM"
    file = a.etc / "modules" / "files" / "module.toml"
    file.write_text(file.read_text().replace("port =", 'resync_limit = "10MiB"\nport ='))
    await a.ask("module_apply", module="files")
    replication = load_module(b.etc, "files").config.replication
    assert replication is not None
    assert replication.resync_limit_bytes_per_s == 10 << 20


async def test_commands_between_nodes_are_not_for_people(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    with pytest.raises(CommandRefused, match="between nodes"):
        await a.ask("peer_commit", target="files")


@pytest.mark.parametrize("name", ["../x", "", "A", "x" * 33, ".old-files"])
async def test_a_bad_name_is_refused(nodes: tuple[Node, Node], name: str) -> None:
    a, _ = nodes
    with pytest.raises(ConfigError, match="cannot be a module's name"):
        await a.add(name)
    with pytest.raises(ConfigError, match="cannot be a module's name"):
        await a.ask("module_remove", module=name)


async def test_config_check_says_every_problem(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    await a.add()
    assert (await a.ask("config_check"))["problems"] == []
    file = a.etc / "modules" / "files" / "module.toml"
    file.write_text(file.read_text().replace("/srv/files", "/proc/x"))
    problems = (await a.ask("config_check"))["problems"]
    assert len(problems) == 1
    assert problems[0].startswith("modules/files/module.toml line 4, column 16: ")


async def test_leaving(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.add()
    b.states["files"] = "SECOND"
    with pytest.raises(CommandRefused, match="modules still run on this node: files"):
        await b.ask("cluster_leave")
    b.states.clear()
    with pytest.raises(CommandRefused, match="node b is alive"):
        await a.ask("cluster_remove", node="b")
    a.up = False
    with pytest.raises(CommandRefused, match="node a cannot be told"):
        await b.ask("cluster_leave")
    a.up = True
    await b.ask("cluster_leave")
    members = (await a.ask("cluster_state"))["members"]
    assert [m["node"] for m in members] == ["a"]
    assert sorted(p.name for p in b.etc.iterdir()) == []
    assert (await b.ask("cluster_state"))["cluster"] is None
    with pytest.raises(CommandRefused, match="not part of a cluster yet"):
        await b.ask("config_check")


async def test_removing_a_dead_node(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.up = False
    with pytest.raises(CommandRefused, match="no other node 'c'"):
        await a.ask("cluster_remove", node="c")
    await a.ask("cluster_remove", node="b")
    assert [m["node"] for m in (await a.ask("cluster_state"))["members"]] == ["a"]


def test_the_commands_are_known() -> None:
    known = {"module_add", "module_apply", "config_check", "cluster_leave", "peer_commit"}
    around = Surroundings(Path(), Path(), (), lambda: None, lambda n: "STOP", lambda: None)  # pyright: ignore[reportArgumentType]
    commands = Configuration(around)
    assert all(commands.knows(c) for c in known)
    assert not commands.knows("state")
    assert configuration.PEER_TIMEOUT_S < 60


async def test_the_lines_of_a_refusal_are_those_that_were_written(
    nodes: tuple[Node, Node],
) -> None:
    """A port is given out when there is none: the added line shifts no place that is told."""
    a, b = nodes
    text = '[replication]\ndirectories = ["/srv/two"]\n\n[[address]]\nip = "10.0.0.300/24"\n'
    with pytest.raises(ConfigError, match=r"module\.toml line 5, column 1: "):
        await a.add("two", text, set={})
    b.directories.pop("/srv/two")
    text = text.replace("300", "30")
    with pytest.raises(ConfigError, match=r"module\.toml line 2, column 16: "):
        await a.add("two", text, set={})


async def test_a_new_module_is_checked_with_its_variables(nodes: tuple[Node, Node]) -> None:
    files = pack({"module.toml": (0o644, TEXT.encode())})
    asked = {"target": "new", "files": files, "set": SET}
    assert (await nodes[0].ask("config_check", **asked))["problems"] == []
