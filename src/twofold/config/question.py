"""What a rule of the configuration may look at: the module, its neighbours, this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twofold.config.load import Module, NodeConfig


@dataclass(frozen=True)
class Facts:
    """What this machine has, as far as a module's configuration names it."""

    directories: Mapping[str, str | None]  # path -> its real path; None when it is no directory
    networks: Mapping[str, tuple[str, ...]]  # interface -> "10.0.0.1/24", ...
    users: frozenset[str]
    scripts: frozenset[str]  # executables under the module's scripts/
    reserved: tuple[str, ...]  # where Twofold itself keeps things
    has_systemd: bool
    programs: frozenset[str] = frozenset()  # of those in `config.programs`
    without_handles: frozenset[str] = frozenset()  # directories on a file system without stable ids
    bad_pattern: tuple[int, str] | None = None  # of `exclude`: which, and why the engine refuses it


@dataclass(frozen=True)
class Question:
    """Everything a rule may look at."""

    module: Module
    others: Sequence[Module]
    node: NodeConfig
    facts: Facts

    @property
    def on_node(self) -> str:
        return f"on node {self.node.name}"
