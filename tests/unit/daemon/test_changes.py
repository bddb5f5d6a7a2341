"""A change is on all nodes or on none, whenever a daemon dies; versions, going back, drift."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.daemon.two_configured import Node, two_nodes
from twofold.config.load import load_module, module_names
from twofold.daemon.changes import files_now
from twofold.daemon.history import KEPT, Version
from twofold.errors import CommandRefused, ConfigError
from twofold.wire.files import pack

__all__ = ["two_nodes"]
Two = tuple[Node, Node]


def ip(node: Node) -> str:
    return load_module(node.etc, "files").config.addresses[0].ip


async def change(node: Node, last: int, **fields: Any) -> dict[str, Any]:
    return await node.ask("module_apply", module="files", set={"address": address(last)}, **fields)


def address(last: int) -> str:
    return f"10.77.0.{last}/24"


def numbers(answer: dict[str, Any]) -> list[int]:
    return [v["number"] for v in answer["versions"]]


# --- a daemon that dies --------------------------------------------------------------------------


async def test_a_node_that_dies_before_it_is_told_takes_it_later(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    a.dies_at = "peer_commit"
    answer = await change(a, 101)
    assert answer["later"] == ["b"]
    assert (ip(a), ip(b)) == (address(101), address(100))
    a.dies_at, b.up = None, True
    await b.settle()
    assert ip(b) == address(101)
    for node in nodes:
        assert numbers(await node.ask("config_history", target="files")) == [1, 2]
    assert (await a.ask("config_drift"))["drift"] == []


async def test_a_leader_that_dies_before_it_decided_leaves_nothing(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    before = files_now(a.etc, "files")
    assert before is not None
    files = {"module.toml": (0o644, before["module.toml"][1] + b"# new\n")}
    version = Version("files", "0123", 0, 1.0, "root", "", "a", files)
    for node in nodes:
        await node.commands.changes.peer["peer_prepare"]("a", {"change": version.to_data()})
    a.up = False
    await b.settle()  # nobody to ask: the old files stay, the question stays open
    assert files_now(b.etc, "files") == before
    a.up = True
    await a.settle()
    await b.settle()
    assert [files_now(n.etc, "files") for n in nodes] == [before, before]
    assert not list((b.var / "changes").iterdir())


async def test_a_leader_that_dies_after_its_record_goes_on_with_it(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    before = files_now(a.etc, "files")
    assert before is not None
    files = {"module.toml": (0o644, before["module.toml"][1] + b"# new\n")}
    version = Version("files", "0123", 2, 1.0, "root", "", "a", files)
    for node in nodes:
        await node.commands.changes.peer["peer_prepare"]("a", {"change": version.to_data()})
    a.commands.changes.history.record(version)
    await b.settle()  # the record decides, also while the leader has not come to its own files
    await a.settle()
    assert [files_now(n.etc, "files") for n in nodes] == [files, files]


async def test_two_changes_at_a_time_do_not_mix(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    version = Version("files", "0123", 0, 1.0, "root", "", "b", files_now(a.etc, "files"))
    await a.commands.changes.peer["peer_prepare"]("b", {"change": version.to_data()})
    with pytest.raises(CommandRefused, match="files is just being changed by node b"):
        await change(a, 101)
    assert (ip(a), ip(b)) == (address(100), address(100))


@pytest.mark.parametrize("data", [None, {}, {"target": "files"}, {"target": "../x", "id": "1"}])
async def test_a_change_that_is_none_is_refused(nodes: Two, data: Any) -> None:
    with pytest.raises(CommandRefused, match="not complete"):
        await nodes[0].commands.changes.peer["peer_prepare"]("b", {"change": data})


# --- versions ------------------------------------------------------------------------------------


async def test_history_says_who_when_and_why(nodes: Two) -> None:
    a, b = nodes
    await a.add(why="the first")
    await b.ask("module_apply", module="files", set={"address": address(101)}, actor="eve")
    for node in nodes:
        versions = (await node.ask("config_history", target="files"))["versions"]
        assert [(v["number"], v["by"], v["why"], v["node"], v["current"]) for v in versions] == [
            (1, "root", "the first", "a", False),
            (2, "eve (through root)", "", "b", True),
        ]
        assert versions[0]["at"] <= versions[1]["at"]


async def test_the_last_ten_are_kept_and_root_alone_reads_them(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    for last in range(101, 113):
        await change(a, last)
    assert numbers(await b.ask("config_history", target="files")) == list(range(4, 14))
    kept = sorted((b.var / "versions" / "files").glob("*.json"))
    assert len(kept) == KEPT
    assert {f.stat().st_mode & 0o777 for f in kept} == {0o600}


async def test_rollback_and_its_rollback(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    await change(a, 101)
    await change(a, 102)
    answer = await b.ask("config_rollback", target="files")
    assert (answer["back_to"], answer["version"], ip(a)) == (2, 4, address(101))
    assert (await a.ask("config_rollback", target="files", version=1))["version"] == 5
    assert (ip(a), ip(b)) == (address(100), address(100))
    with pytest.raises(CommandRefused, match="no version 77 of files"):
        await a.ask("config_rollback", target="files", version=77)


async def test_a_removed_module_comes_back(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    await a.ask("module_remove", module="files", why="a mistake")
    assert module_names(b.etc) == ()
    await b.ask("config_rollback", target="files")
    assert (ip(a), ip(b)) == (address(100), address(100))


async def test_a_version_is_shown_and_compared(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    await change(a, 101)
    diff = await a.ask("config_diff", target="files", version=1)
    assert '-address = "10.77.0.100/24"' in diff["differences"][0]["lines"]
    assert '+address = "10.77.0.101/24"' in diff["differences"][0]["lines"]
    assert (await a.ask("config_diff", target="files"))["differences"] == []
    shown = await a.ask("config_show", target="files", version=1)
    assert "10.77.0.100/24" in shown["files"]["module.toml"]
    file = b.etc / "modules" / "files" / "module.toml"
    file.write_text(file.read_text() + "# by hand\n")
    with_b = await a.ask("config_diff", target="files", with_node="b")
    assert with_b["differences"][0]["lines"].endswith("-# by hand\n")
    given = pack({"module.toml": (0o644, b"")})
    assert (await a.ask("config_diff", target="files", files=given))["differences"]


# --- what it would do -----------------------------------------------------------------------------


async def test_dry_run_says_what_counts_when_and_changes_nothing(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    await change(a, 101)
    b.states["files"] = "PRIM"
    answer = await change(a, 102, dry_run=True)
    effects = {(e["node"], e["key"]): e["when"] for e in answer["effects"]}
    assert effects["b", "address.0.ip"] == "next_start"
    assert effects["a", "address.0.ip"] == "now"  # at rest there
    assert (ip(a), ip(b)) == (address(101), address(101))
    files = pack({"module.toml": (0o644, b'[replication]\nport = 9100\ndirectories = ["/x"]\n')})
    checked = await a.ask("config_check", target="files", files=files)
    assert any("cannot change while the module is PRIM on node b" in p for p in checked["problems"])
    assert any("line 3, column 16: directory '/x' does not exist" in p for p in checked["problems"])


# --- cluster.toml ---------------------------------------------------------------------------------


async def test_cluster_toml_is_applied_and_rolled_back_on_all_nodes(nodes: Two) -> None:
    a, b = nodes
    text = (a.etc / "cluster.toml").read_text()
    slower = pack({"cluster.toml": (0o644, text.replace('"3s"', '"5s"').encode())})
    answer = await a.ask("config_apply", target="cluster.toml", files=slower, why="a slow network")
    assert [(e["key"], e["when"]) for e in answer["effects"] if e["node"] == "b"] == [
        ("heartbeat.timeout", "now")
    ]
    assert '"5s"' in (b.etc / "cluster.toml").read_text()
    await b.ask("config_rollback", target="cluster.toml")
    assert (a.etc / "cluster.toml").read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("127.0.0.2", "127.0.0.3", "node.b.addresses.lan cannot change while module 'files' runs"),
        ('name = "b"', 'name = "c"', "cannot be changed by hand"),
        ('timeout = "3s"', 'timeout = "3"', "line 8, column .*has no unit"),
    ],
)
async def test_cluster_toml_that_cannot_be(nodes: Two, old: str, new: str, why: str) -> None:
    a, b = nodes
    await a.add()
    b.states["files"] = "SECOND"
    text = (a.etc / "cluster.toml").read_text()
    files = pack({"cluster.toml": (0o644, text.replace(old, new).encode())})
    with pytest.raises(ConfigError, match=why):
        await a.ask("config_apply", target="cluster.toml", files=files)
    assert (b.etc / "cluster.toml").read_text() == text


# --- drift ----------------------------------------------------------------------------------------


async def test_drift_is_told_with_its_mend(nodes: Two) -> None:
    a, b = nodes
    await a.add()
    assert (await a.ask("config_drift")) == {"drift": [], "silent": []}
    file = b.etc / "modules" / "files" / "module.toml"
    file.write_text(file.read_text() + "# by hand\n")
    for node in nodes:
        (drift,) = (await node.ask("config_drift"))["drift"][:1]
        assert (drift["what"], drift["node"]) == ("edited", "b")
        assert "twofold config rollback files" in drift["mend"]
    await b.ask("config_rollback", target="files")
    assert (await a.ask("config_drift"))["drift"] == []
    b.up = False
    assert (await a.ask("config_drift"))["silent"] == ["b"]
