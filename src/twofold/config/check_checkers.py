"""The rules for [[checker]]: each name it has must mean something, and modules must not wait for
each other in a circle.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping

from twofold.config.load import nearest
from twofold.config.problem import Problem
from twofold.config.programs import OF_SQL, PROGRAMS
from twofold.config.question import Question
from twofold.config.schema_checkers import ANYWHERE, HERE, Checker


def _names(q: Question) -> Iterator[Problem]:
    checkers = q.module.config.checkers
    for i, checker in enumerate(checkers):
        if checker.name in [c.name for c in checkers[:i]]:
            yield Problem(
                ("checker", i, "name"),
                f"two checkers have the name {checker.name!r}",
                "Give each its own name.",
            )


def _what_they_watch(q: Question) -> Iterator[Problem]:
    for i, checker in enumerate(q.module.config.checkers):
        for key, found in _TARGETS.items():
            if getattr(checker, key) is None:
                continue
            for text, mend in found(q, checker):
                yield Problem(("checker", i, key), f"checker {checker.name!r} {text}", mend)


Found = Iterator[tuple[str, str]]


def _service(q: Question, checker: Checker) -> Found:
    names = [s.name for s in q.module.config.services]
    if checker.service not in names:
        known = f"Services are {', '.join(names)}." if names else "Add the service first."
        yield (
            f"watches service {checker.service!r}, which the module does not have",
            nearest(str(checker.service), names) or known,
        )


def _unit(q: Question, checker: Checker) -> Found:
    if not q.facts.has_systemd:
        yield f"watches a systemd unit, and systemd does not run {q.on_node}", "Use another kind."


def _interface(q: Question, checker: Checker) -> Found:
    if checker.interface not in q.facts.networks:
        known = sorted(q.facts.networks)
        near = nearest(str(checker.interface), known) or f"There are {', '.join(known)}."
        yield f"watches interface {checker.interface!r}, which is not {q.on_node}", near


def _ip(q: Question, checker: Checker) -> Found:
    ours = [str(ipaddress.ip_interface(a.ip).ip) for a in q.module.config.addresses]
    if checker.ip not in ours:
        has = f"It has {', '.join(ours)}." if ours else "It has none: add [[address]]."
        yield f"watches {checker.ip}, which is no virtual address of the module", has


def _engine(q: Question, checker: Checker) -> Found:
    program = OF_SQL.get(str(checker.engine))
    if program is not None and program not in q.facts.programs:
        mend = f"Install it there: apt install {PROGRAMS[program]}"
        yield f"asks with the program {program}, which is not {q.on_node}", mend


def _script(q: Question, checker: Checker) -> Found:
    if checker.script not in q.facts.scripts:
        yield (
            f"calls scripts/{checker.script}, which is not there or not executable",
            f"Write {q.module.scripts / str(checker.script)} and make it executable.",
        )


def _run_as(q: Question, checker: Checker) -> Found:
    if checker.run_as not in q.facts.users:
        mend = f"Make it there: useradd --system {checker.run_as}"
        yield f"runs as user {checker.run_as!r}, who does not exist {q.on_node}", mend


def _module(q: Question, checker: Checker) -> Found:
    if checker.module == q.module.name and checker.node == HERE:
        yield "watches its own module", "Name another one."
    known = [m.name for m in q.others]
    if checker.node == HERE and checker.module not in (*known, q.module.name):
        has = f"There are {', '.join(known)}." if known else "Add that module first."
        yield (
            f"watches module {checker.module!r}, which is not {q.on_node}",
            nearest(str(checker.module), known) or has,
        )
    nodes = [n.name for n in q.node.cluster.nodes]
    if checker.node not in (HERE, ANYWHERE, *nodes):
        yield (
            f"looks on node {checker.node!r}, which the cluster does not have",
            f"Write here, any, or one of {', '.join(nodes)}.",
        )


_TARGETS: Mapping[str, Callable[[Question, Checker], Found]] = {
    "service": _service,
    "unit": _unit,
    "interface": _interface,
    "ip": _ip,
    "engine": _engine,
    "script": _script,
    "run_as": _run_as,
    "module": _module,
}


def _something_to_look_at(q: Question) -> Iterator[Problem]:
    config = q.module.config
    for i, checker in enumerate(config.checkers):
        if checker.kind == "mount" and checker.path is None and config.replication is None:
            yield Problem(
                ("checker", i, "kind"),
                f"checker {checker.name!r} has no path, and the module replicates no directory",
                "Add path = ...",
            )
        if checker.kind == "address" and checker.ip is None and not config.addresses:
            yield Problem(
                ("checker", i, "kind"),
                f"checker {checker.name!r} watches the module's virtual address, it has none",
                "Add [[address]], or remove the checker.",
            )
        if checker.kind == "address" and checker.side != "primary":
            yield Problem(
                ("checker", i, "side"),
                f"checker {checker.name!r}: the secondary never has the virtual address",
                "Leave side out.",
            )


def _circles(q: Question) -> Iterator[Problem]:
    """A module that waits for one that waits for it never starts."""
    watched = {m.name: _watches(m.config.checkers) for m in (*q.others, q.module)}
    for i, checker in enumerate(q.module.config.checkers):
        if checker.module is None or checker.module == q.module.name:
            continue
        way = _way(watched, checker.module, q.module.name)
        if way:
            yield Problem(
                ("checker", i, "module"),
                f"modules watch each other in a circle: {' -> '.join((q.module.name, *way))}",
                "Remove one of these checkers.",
            )


def _watches(checkers: tuple[Checker, ...]) -> tuple[str, ...]:
    return tuple(c.module for c in checkers if c.module is not None)


def _way(watched: Mapping[str, tuple[str, ...]], start: str, goal: str) -> tuple[str, ...]:
    """How `start` leads to `goal`; empty when it does not."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    for way in ways:
        for each in watched.get(way[-1], ()):
            if each == goal:
                return (*way, goal)
            if each not in seen:
                seen.add(each)
                ways.append((*way, each))
    return ()


CHECKER_RULES: tuple[Callable[[Question], Iterator[Problem]], ...] = (
    _names,
    _what_they_watch,
    _something_to_look_at,
    _circles,
)
