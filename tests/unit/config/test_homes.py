"""On which nodes a module lives: what is refused in words, and who looks at its own machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.config.test_check import CLUSTER, FACTS, MODULE, module
from twofold.config.check import check_module
from twofold.config.homes import homes, lives_on, within
from twofold.config.load import NodeConfig, parse_cluster
from twofold.config.problem import located
from twofold.config.render import cluster_toml
from twofold.errors import ConfigError

THREE = parse_cluster(
    cluster_toml(CLUSTER) + '[[node]]\nname = "c"\naddresses = { lan = "10.77.0.3" }\n'
)


def node(name: str) -> NodeConfig:
    return NodeConfig(Path("/etc/twofold"), name, THREE)


def text(nodes: str, more: str = "") -> str:
    return MODULE.replace("[module]", f"[module]\nnodes = {nodes}{more}")


def sentences(text: str, on: str = "a") -> list[str]:
    found = check_module(module(text), [], node(on), FACTS)
    return [f"{p.sentence()}. {p.mend}" for p in located(found, "module.toml", text)]


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ('["a", "x"]', "column 15: there is no node 'x' in this cluster. Its nodes are a, b, c."),
        ('["a", "a"]', "column 15: node 'a' is there twice. Name each node once."),
        (
            '["c"]',
            'two nodes, and nodes names one. Name two, such as nodes = ["c", "a"].',
        ),
        ('["a", "b", "c"]', "a mirror lives on two nodes, and nodes names 3."),
    ],
)
def test_what_nodes_may_not_be(nodes: str, sentence: str) -> None:
    (found,) = sentences(text(nodes))
    assert found.startswith("module.toml line 3, "), found
    assert sentence in found


def test_in_a_cluster_of_three_a_mirror_must_say_where_it_lives() -> None:
    (found,) = sentences(MODULE)
    assert "a mirror lives on two nodes, and this cluster has 3 (a, b, c)" in found
    assert 'Say which: nodes = ["a", "b"]' in found
    assert sentences(text('["a", "c"]')) == []


def test_a_light_module_lives_on_all_or_on_those_it_names() -> None:
    light = '[module]\nkind = "light"\n'
    assert sentences(light) == []
    assert sentences(light + 'nodes = ["c"]\n') == []
    assert homes(module(light).config, THREE) == ("a", "b", "c")


def test_the_default_primary_is_one_of_its_nodes() -> None:
    wanted = MODULE.replace('"none"', '"b"')
    (found,) = sentences(wanted.replace("[module]", '[module]\nnodes = ["a", "c"]'))
    assert "no node 'b' for default_primary" in found
    assert "one of a, c" in found


def test_a_node_that_does_not_run_it_asks_nothing_of_its_own_machine() -> None:
    elsewhere = text('["a", "c"]').replace("/srv/files", "/srv/nothing")
    assert sentences(elsewhere, on="b") == []
    assert "does not exist on node c" in sentences(elsewhere, on="c")[0]
    assert len(sentences(text('["a", "x"]'), on="b")) == 1, "but what is wrong anywhere is said"


def test_two_modules_that_never_meet_may_have_the_same_directory() -> None:
    one = module(text('["a", "b"]'), "one")
    address = MODULE.replace("10.77.0.100", "10.77.0.101").replace("9100", "9101")
    far = address.replace("[module]", '[module]\nnodes = ["b", "c"]')
    on_c = check_module(module(far), [one], node("c"), FACTS)
    on_b = check_module(module(far), [one], node("b"), FACTS)
    assert on_c == []
    assert ["overlaps" in p.text for p in on_b] == [True]


def test_the_cluster_as_a_module_sees_it() -> None:
    away = module(text('["a", "c"]'))
    assert [p.name for p in within(node("a"), away).peers] == ["c"]
    assert [p.name for p in within(node("c"), away).peers] == ["a"]
    assert [lives_on(node(n), away) for n in "abc"] == [True, False, True]
    with pytest.raises(ConfigError, match="this cluster has 3"):
        within(node("a"), module(MODULE))
    alone = replace(node("a"), cluster=CLUSTER.model_copy(update={"nodes": CLUSTER.nodes[:1]}))
    with pytest.raises(ConfigError, match="a mirror needs a second node"):
        within(alone, module(MODULE))
