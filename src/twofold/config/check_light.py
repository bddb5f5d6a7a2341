"""What a light module may not have: everything that needs a second node or a copy of the data."""

from __future__ import annotations

from collections.abc import Iterator

from twofold.config.load import Module
from twofold.config.problem import Problem


def light_problems(module: Module) -> Iterator[Problem]:
    """All that is wrong with a module of kind light, as such."""
    config, section = module.config, module.config.module
    if config.replication is not None:
        yield Problem(
            ("replication",),
            "a light module runs on one node and replicates nothing",
            'Leave [replication] out, or use kind = "mirror".',
        )
    for key, default in (("arbitration", "none"), ("default_primary", "none"), ("failover", True)):
        if getattr(section, key) != default:
            yield Problem(
                ("module", key),
                f"{key} is about two nodes, and a light module runs on one",
                f"Leave {key} out.",
            )
    for i, service in enumerate(config.services):
        if service.side == "second":
            yield Problem(
                ("service", i, "side"),
                f"service {service.name!r} is for a secondary, which a light module has not",
                "Leave side out.",
            )
    for i, checker in enumerate(config.checkers):
        if checker.action == "failover":
            yield Problem(
                ("checker", i, "action"),
                f"checker {checker.name!r} cannot hand over: a light module runs on one node",
                'Use action = "restart", "stop", "wait" or "none".',
            )
