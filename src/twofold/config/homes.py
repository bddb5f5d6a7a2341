"""On which nodes of the cluster a module lives, and the cluster as that module sees it.

A mirror lives on exactly two nodes, a light module on any number. `nodes` in module.toml says
which; without it, on all of the cluster. A node that is no home of a module keeps its files (they
are equal on all nodes) and does nothing with them: it starts, checks and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from twofold.config.load import Module, NodeConfig, load_module
from twofold.config.problem import Problem
from twofold.config.schema import ClusterConfig, ModuleConfig
from twofold.errors import ConfigError, TwofoldError

NODES_OF_A_MIRROR = 2


def homes(config: ModuleConfig, cluster: ClusterConfig) -> tuple[str, ...]:
    """The names of the nodes that run it, as the cluster orders them where it does not say."""
    return config.module.nodes or tuple(n.name for n in cluster.nodes)


def homes_of(node: NodeConfig, name: str) -> tuple[str, ...]:
    """Where the module of that name lives; all nodes when its files do not tell."""
    try:
        return homes(load_module(node.etc, name).config, node.cluster)
    except TwofoldError:
        return tuple(n.name for n in node.cluster.nodes)


def lives_on(node: NodeConfig, module: Module) -> bool:
    return node.name in homes(module.config, node.cluster)


def within(node: NodeConfig, module: Module) -> NodeConfig:
    """The cluster with the module's own nodes only, so that `peers` are the module's peers.

    Raises when a mirror has not its two nodes.
    """
    for problem in home_problems(module, node.cluster):
        raise ConfigError(problem.text, problem.mend)
    names = homes(module.config, node.cluster)
    kept = tuple(n for n in node.cluster.nodes if n.name in names)
    if module.config.module.kind == "mirror" and len(kept) < NODES_OF_A_MIRROR:
        raise ConfigError(
            "a mirror needs a second node, and this cluster has one only",
            "On the other server: twofold cluster join",
        )
    return replace(node, cluster=node.cluster.model_copy(update={"nodes": kept}))


def home_problems(module: Module, cluster: ClusterConfig) -> Iterator[Problem]:
    """What is wrong with `nodes`, in this cluster."""
    given, known = module.config.module.nodes, [n.name for n in cluster.nodes]
    for i, name in enumerate(given):
        if name not in known:
            yield Problem(
                ("module", "nodes", i),
                f"there is no node {name!r} in this cluster",
                f"Its nodes are {', '.join(known)}.",
            )
        elif name in given[:i]:
            yield Problem(
                ("module", "nodes", i), f"node {name!r} is there twice", "Name each node once."
            )
    if module.config.module.kind != "mirror":
        return
    if given and len(given) != NODES_OF_A_MIRROR:
        count = "one" if len(given) == 1 else str(len(given))
        yield Problem(
            ("module", "nodes"),
            f"a mirror lives on two nodes, and nodes names {count}",
            f'Name two, such as nodes = ["{given[0]}", "{_another(known, given[0])}"].',
        )
    elif not given and len(known) > NODES_OF_A_MIRROR:
        yield Problem(
            ("module",),
            f"a mirror lives on two nodes, and this cluster has {len(known)} ({', '.join(known)})",
            f'Say which: nodes = ["{known[0]}", "{known[1]}"]',
        )


def _another(known: list[str], name: str) -> str:
    return next((n for n in known if n != name), "OTHER")


def in_words(names: tuple[str, ...]) -> str:
    """ "a and c" """
    return " and ".join(names)
