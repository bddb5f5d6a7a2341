"""The rules between values: what one module may be, beside the others, on this node.

Pure: what the machine has (directories, interfaces, users) comes in as `Facts`, gathered by
`twofold.adapters.facts`. Every node of the cluster checks the same text against its own facts
before anything is written anywhere. Each rule is one small generator of problems; the order of
`RULES` is the order in which a person reads them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from twofold.config.check_checkers import CHECKER_RULES
from twofold.config.check_light import light_problems
from twofold.config.homes import home_problems, homes, lives_on
from twofold.config.load import Module, NodeConfig
from twofold.config.problem import Problem
from twofold.config.programs import PROGRAMS
from twofold.config.question import Facts, Question

PORTS_OF_TWOFOLD = range(9010, 9013)
FIRST_PORT = 9100


def check_module(
    module: Module, others: Iterable[Module], node: NodeConfig, facts: Facts
) -> list[Problem]:
    """All that is wrong with `module` on this node; empty when it may be applied."""
    question = Question(module, [m for m in others if m.name != module.name], node, facts)
    rules = (*RULES, *RULES_AT_HOME) if lives_on(node, module) else RULES
    return [problem for rule in rules for problem in rule(question)]


def next_port(others: Iterable[Module]) -> int:
    """The first flow port that no module has."""
    taken = {m.config.replication.port for m in others if m.config.replication}
    port = FIRST_PORT
    while port in taken:
        port += 1
    return port


def _kind(q: Question) -> Iterator[Problem]:
    section = q.module.config.module
    if section.kind == "farm":
        yield Problem(
            ("module", "kind"),
            f"modules of kind {section.kind!r} are not part of this version",
            'Use kind = "mirror" or "light".',
        )
    if section.kind == "light":
        yield from light_problems(q.module)
        return
    if section.arbitration == "witness" and not q.node.cluster.witnesses:
        yield Problem(
            ("module", "arbitration"),
            'arbitration = "witness", but the cluster has no witness',
            "Give it one: `twofold cluster witness --help` says how.",
        )
    if section.arbitration == "ping" and not q.node.cluster.arbitration.ping:
        yield Problem(
            ("module", "arbitration"),
            'arbitration = "ping", but the cluster names no address to ping',
            "Name the router: twofold cluster ping 10.0.0.254",
        )
    names = homes(q.module.config, q.node.cluster)
    wanted = section.default_primary
    if wanted not in ("none", "last", *names):
        yield Problem(
            ("module", "default_primary"),
            f"there is no node {wanted!r} for default_primary",
            f"Use none, last, or one of {', '.join(names)}.",
        )


def _nodes(q: Question) -> Iterator[Problem]:
    yield from home_problems(q.module, q.node.cluster)


def _replication(q: Question) -> Iterator[Problem]:
    section = q.module.config.replication
    if q.module.config.module.kind == "light":
        return
    if section is None:
        yield Problem(
            (),
            "a mirror needs a [replication] section",
            'Add [replication] with directories = ["/srv/DATA"].',
        )
        return
    if section.sync == "fsync" and section.cache == "none":
        yield Problem(
            ("replication", "cache"),
            'sync = "fsync" keeps writes in the kernel\'s cache, so cache = "none" cannot be',
            'Leave one of the two out; for speed with sync = "write", cache = "none" is enough.',
        )
    port, path = section.port, ("replication", "port")
    if port is None:
        free = next_port(q.others)
        yield Problem(("replication",), "[replication] needs a port", f"Add port = {free}.")
    elif port in PORTS_OF_TWOFOLD:
        yield Problem(
            path,
            f"port {port} is Twofold's own (9010 to 9012)",
            f"Use another one, such as {next_port(q.others)}.",
        )
    for other in q.others:
        if port is not None and other.config.replication and other.config.replication.port == port:
            yield Problem(
                path,
                f"port {port} belongs to module {other.name!r} already",
                f"Use another one, such as {next_port((*q.others, q.module))}.",
            )


def _directories(q: Question) -> Iterator[Problem]:
    section = q.module.config.replication
    directories = section.directories if section else ()
    for i, directory in enumerate(directories):
        path = ("replication", "directories", i)
        shape = _shape(directory)
        if shape is not None:
            yield Problem(path, f"directory {directory!r} {shape[0]}", shape[1])
            continue
        reserved = _reserved(directory, q.facts.reserved)
        if reserved is not None:
            yield Problem(
                path, f"directory {directory!r} {reserved}", "Replicate a directory of its own."
            )
            continue
        yield from _existence(q, path, directory)
        for earlier in directories[:i]:
            if _overlap(directory, earlier):
                yield Problem(
                    path,
                    f"directory {directory!r} overlaps {earlier!r} of the same module",
                    "Name only the outer one.",
                )
        # A module that lives elsewhere has its directories there.
        for other, theirs in _directories_of(o for o in q.others if lives_on(q.node, o)):
            if _overlap(directory, theirs):
                yield Problem(
                    path,
                    f"directory {directory!r} overlaps {theirs!r} of module {other!r}",
                    "A directory belongs to one module; move one of them.",
                )


def _require(q: Question) -> Iterator[Problem]:
    section = q.module.config.replication
    for i, wanted in enumerate(section.require if section else ()):
        plain = _plain(wanted).removeprefix("/")
        if not plain or wanted != plain or "\0" in wanted:
            yield Problem(
                ("replication", "require", i),
                f"{wanted!r} is not a path below the directory",
                f"Write it without a leading /, such as {plain or 'lost+found'!r}.",
            )


def _exclude(q: Question) -> Iterator[Problem]:
    section = q.module.config.replication
    if section and section.exclude and section.dirty_map:
        yield Problem(
            ("replication", "dirty_map"),
            "dirty_map = true does not go with exclude",
            "Leave one of the two out; without the map a resync compares everything.",
        )
    if section and q.facts.bad_pattern:
        index, why = q.facts.bad_pattern
        yield Problem(
            ("replication", "exclude", index),
            f"{section.exclude[index]!r} is no pattern: {why}",
            "Write a name (*.tmp), a directory (cache/), a path (/logs/*.old) or regex:EXPRESSION.",
        )


def _shape(directory: str) -> tuple[str, str] | None:
    if not directory.startswith("/"):
        return "is not an absolute path", f"Write it from the root, such as /srv/{directory}."
    if "\0" in directory or "\n" in directory:
        return "has a character that no path here may have", "Rename the directory."
    if ".." in directory.split("/") or str(PurePosixPath(directory)) != directory:
        return "is not written plainly", f"Write {_plain(directory)!r}."
    return None


def _plain(directory: str) -> str:
    parts: list[str] = []
    for part in directory.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _reserved(directory: str, reserved: tuple[str, ...]) -> str | None:
    if directory == "/":
        return "is the whole system"
    for kernel in ("/proc", "/sys", "/dev"):
        if _inside(directory, kernel):
            return f"is inside {kernel}, which belongs to the kernel"
    for own in reserved:
        if _inside(directory, own):
            return f"is inside {own}, where Twofold keeps its own files"
        if _inside(own, directory):
            return f"contains {own}, where Twofold keeps its own files"
    return None


def _existence(q: Question, path: tuple[str | int, ...], directory: str) -> Iterator[Problem]:
    real = q.facts.directories.get(directory)
    if real is None:
        yield Problem(
            path,
            f"directory {directory!r} does not exist {q.on_node}",
            f"Make it there: mkdir -p {directory}",
        )
    elif real != directory:
        yield Problem(
            path,
            f"directory {directory!r} leads through a symbolic link to {real!r} {q.on_node}",
            f"Write {real!r}.",
        )
    elif directory in q.facts.without_handles:
        yield Problem(
            path,
            f"the file system of {directory!r} {q.on_node} gives files no stable identity",
            "Put the directory on ext4, xfs or btrfs.",
        )


def _directories_of(modules: Iterable[Module]) -> Iterator[tuple[str, str]]:
    for module in modules:
        if module.config.replication:
            for directory in module.config.replication.directories:
                yield module.name, directory


def _inside(path: str, outer: str) -> bool:
    return PurePosixPath(path).is_relative_to(outer)


def _overlap(one: str, two: str) -> bool:
    return _inside(one, two) or _inside(two, one)


def _addresses(q: Question) -> Iterator[Problem]:
    own = {
        ipaddress.ip_address(ip): n.name
        for n in q.node.cluster.nodes
        for ip in n.addresses.values()
    }
    taken = {ipaddress.ip_interface(a.ip).ip: m.name for m in q.others for a in m.config.addresses}
    for i, address in enumerate(q.module.config.addresses):
        path = ("address", i, "ip")
        ip = ipaddress.ip_interface(address.ip).ip
        earlier = [ipaddress.ip_interface(a.ip).ip for a in q.module.config.addresses[:i]]
        if ip in own:
            yield Problem(
                path,
                f"{ip} is node {own[ip]}'s own address, it cannot move",
                "Use an address that no machine has.",
            )
        elif ip in taken:
            yield Problem(
                path,
                f"{ip} belongs to module {taken[ip]!r} already",
                "Give each module its own address.",
            )
        elif ip in earlier:
            yield Problem(path, f"{ip} is there twice", "Remove one of them.")
        else:
            yield from _interface(q, i)


def _interface(q: Question, i: int) -> Iterator[Problem]:
    address = q.module.config.addresses[i]
    if address.interface is not None:
        if address.interface not in q.facts.networks:
            known = ", ".join(sorted(q.facts.networks))
            yield Problem(
                ("address", i, "interface"),
                f"there is no interface {address.interface!r} {q.on_node}",
                f"Leave it out to find it by the network, or use one of {known}.",
            )
        return
    network = ipaddress.ip_interface(address.ip).network
    here = {str(ipaddress.ip_interface(a).network) for n in q.facts.networks.values() for a in n}
    if str(network) not in here:
        yield Problem(
            ("address", i, "ip"),
            f"no interface {q.on_node} is in the network {network} of {address.ip}",
            f"Networks there are {', '.join(sorted(here))}; or name an interface.",
        )


def _services(q: Question) -> Iterator[Problem]:
    services = q.module.config.services
    for i, service in enumerate(services):
        if service.name in [s.name for s in services[:i]]:
            yield Problem(
                ("service", i, "name"),
                f"two services have the name {service.name!r}",
                "Give each its own name.",
            )
        if service.user is not None and service.user not in q.facts.users:
            yield Problem(
                ("service", i, "user"),
                f"there is no user {service.user!r} {q.on_node}",
                f"Make it there: useradd --system {service.user}",
            )
        if service.script is not None and service.script not in q.facts.scripts:
            yield Problem(
                ("service", i, "script"),
                f"there is no executable scripts/{service.script} in the module",
                f"Write {q.module.scripts / service.script} and make it executable.",
            )
        if service.compose is not None and not q.facts.programs & {"docker", "podman"}:
            yield Problem(
                ("service", i, "compose"),
                f"service {service.name!r} runs containers, and neither docker nor podman is "
                f"{q.on_node}",
                f"Install one there: apt install {PROGRAMS['docker']}, or {PROGRAMS['podman']}",
            )
        if service.libvirt is not None and "virsh" not in q.facts.programs:
            yield Problem(
                ("service", i, "libvirt"),
                f"service {service.name!r} is a virtual machine, and virsh is not {q.on_node}",
                f"Install it there: apt install {PROGRAMS['virsh']} libvirt-daemon-system",
            )
        if service.systemd is not None and not q.facts.has_systemd:
            yield Problem(
                ("service", i, "systemd"),
                f"service {service.name!r} is a systemd unit, and systemd does not run {q.on_node}",
                "Use command = [...] instead.",
            )


Rule = Callable[[Question], Iterator[Problem]]
RULES: tuple[Rule, ...] = (_kind, _nodes, _replication, _require, _exclude)
# These look at the machine, so only a node that runs the module asks them.
RULES_AT_HOME: tuple[Rule, ...] = (_directories, _addresses, _services, *CHECKER_RULES)
