"""Which nodes a request means."""

from __future__ import annotations

import pytest

from twofold.errors import CommandRefused
from twofold.wire.local import target_nodes

KNOWN = ("a", "b")


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [(None, None), (["*"], ["a", "b"]), (["b", "a"], ["a", "b"]), (["b"], ["b"]), ([], [])],
)
def test_names_and_star(wanted: object, nodes: list[str] | None) -> None:
    assert target_nodes({"nodes": wanted}, KNOWN) == nodes


@pytest.mark.parametrize("wanted", ["a", [1], {"a": 1}, [None]])
def test_what_is_no_list_of_names_is_refused(wanted: object) -> None:
    with pytest.raises(CommandRefused, match="list of names"):
        target_nodes({"nodes": wanted}, KNOWN)


def test_an_unknown_node_is_refused_with_the_known() -> None:
    with pytest.raises(CommandRefused, match=r"no node 'c'.*Its nodes are a, b"):
        target_nodes({"nodes": ["c"]}, KNOWN)
