"""From files to typed values, or to sentences that say file, line, column and mend.

Four things are read: `cluster.toml` and `node.toml` together make a `NodeConfig` (None when this
machine is not configured yet), `modules/NAME/module.toml` makes a `Module`. Reading changes
nothing. Rules between values are `twofold.config.check`'s.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from twofold.config import locate
from twofold.config.params import substitute
from twofold.config.problem import Problem, located, refuse
from twofold.config.schema import (
    ClusterConfig,
    ClusterNode,
    ModuleConfig,
    NodeFile,
    Variable,
)
from twofold.config.values import NAME_PATTERN
from twofold.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

MODULE_FILE = "module.toml"
FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class NodeConfig:
    """What this node knows about itself and its cluster."""

    etc: Path
    name: str
    cluster: ClusterConfig
    watchdog: str | None = None

    @property
    def me(self) -> ClusterNode:
        return self.cluster.node(self.name)

    @property
    def peers(self) -> tuple[ClusterNode, ...]:
        """The other nodes."""
        return tuple(n for n in self.cluster.nodes if n.name != self.name)

    @property
    def pki(self) -> Path:
        return self.etc / "pki"

    def addresses_of(self, node: str) -> tuple[str, ...]:
        """The node's addresses, those on networks with `flow = true` first."""
        addresses = self.cluster.node(node).addresses
        return tuple(addresses[n] for n in self.cluster.networks_by_preference() if n in addresses)


@dataclass(frozen=True)
class Module:
    """One module's configuration with variables replaced, and the directory it came from."""

    name: str
    config: ModuleConfig
    directory: Path
    digest: str  # of all files of the module: equal on all nodes, or the nodes have drifted

    @property
    def scripts(self) -> Path:
        return self.directory / "scripts"


def load_node(etc: Path) -> NodeConfig | None:
    """This node's configuration; None while there is no cluster.toml or no node.toml."""
    cluster_file, node_file = etc / "cluster.toml", etc / "node.toml"
    if not cluster_file.exists() or not node_file.exists():
        return None
    cluster = parse_cluster(read_text(cluster_file), str(cluster_file))
    own = parse_model(NodeFile, read_text(node_file), str(node_file))
    name = own.name
    if name not in {n.name for n in cluster.nodes}:
        known = ", ".join(n.name for n in cluster.nodes)
        raise ConfigError(
            f"{node_file}: this machine is node {name!r}, which cluster.toml does not name",
            f"The cluster's nodes are {known}; set name to the right one.",
        )
    return NodeConfig(etc, name, cluster, own.watchdog)


def parse_cluster(text: str, file: str = "cluster.toml") -> ClusterConfig:
    """cluster.toml; also refuses what its parts say against each other."""
    cluster = parse_model(ClusterConfig, text, file)
    problems = [
        *_cluster_problems(cluster),
        *_arbitration_problems(cluster),
        *_notify_problems(cluster),
    ]
    refuse(located(problems, file, text))
    return cluster


def _cluster_problems(cluster: ClusterConfig) -> Iterator[Problem]:
    networks = [n.name for n in cluster.networks]
    for i, network in enumerate(networks):
        if network in networks[:i]:
            yield Problem(
                ("network", i, "name"), f"network {network!r} is there twice", "Rename one."
            )
    seen: dict[str, str] = {}
    for i, node in enumerate(cluster.nodes):
        if node.name in [n.name for n in cluster.nodes[:i]]:
            yield Problem(("node", i, "name"), f"node {node.name!r} is there twice", "Rename one.")
        for network, ip in node.addresses.items():
            path = ("node", i, "addresses", network)
            if network not in networks:
                near = nearest(network, networks)
                yield Problem(
                    path,
                    f"node {node.name!r} has an address on network {network!r}, "
                    "which is not in the file",
                    near or f"Networks are: {', '.join(networks)}.",
                )
            if ip in seen:
                yield Problem(
                    path, f"{ip} belongs to {seen[ip]} already", "Give each node its own address."
                )
            seen[ip] = f"node {node.name} on {network}"


def _arbitration_problems(cluster: ClusterConfig) -> Iterator[Problem]:
    own = {ip: n.name for n in cluster.nodes for ip in n.addresses.values()}
    for i, ip in enumerate(cluster.arbitration.ping):
        if ip in own:
            yield Problem(
                ("arbitration", "ping", i),
                f"{ip} is node {own[ip]}'s own address, it says nothing about the network",
                "Name a router, or another machine that is always on.",
            )
    names = [n.name for n in cluster.nodes]
    for i, witness in enumerate(cluster.witnesses):
        if witness.name in names:
            yield Problem(
                ("witness", i, "name"),
                f"there is a node or witness {witness.name!r} already",
                "Give the witness a name of its own.",
            )
        names.append(witness.name)


def _notify_problems(cluster: ClusterConfig) -> Iterator[Problem]:
    names = [t.name for t in cluster.notify]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Problem(("notify", i, "name"), f"target {name!r} is there twice", "Rename one.")


def module_names(etc: Path) -> tuple[str, ...]:
    """The modules that have a directory with a module.toml."""
    root = etc / "modules"
    if not root.is_dir():
        return ()
    return tuple(
        sorted(
            d.name
            for d in root.iterdir()
            if (d / MODULE_FILE).is_file() and NAME_PATTERN.fullmatch(d.name)
        )
    )


def load_module(etc: Path, name: str) -> Module:
    """One module of this node; raises `ConfigError` for a wrong or missing one."""
    directory = etc / "modules" / name
    if not (directory / MODULE_FILE).is_file():
        near = nearest(name, module_names(etc))
        raise ConfigError(
            f"there is no module {name!r} here",
            near or f"Make one with: twofold module add {name}",
        )
    return read_module(name, directory)


def load_modules(etc: Path) -> tuple[Module, ...]:
    """All modules of this node; the first wrong one raises."""
    return tuple(load_module(etc, name) for name in module_names(etc))


def read_module(name: str, directory: Path) -> Module:
    """A module from any directory: the library's, a user's, or one received."""
    check_module_name(name)
    text = read_text(directory / MODULE_FILE)
    config = parse_module(name, text, str(directory / MODULE_FILE))
    return Module(name, config, directory, digest_of(module_files(directory)))


def parse_module(name: str, text: str, file: str = MODULE_FILE) -> ModuleConfig:
    """module.toml with its variables replaced."""
    raw = parse_toml(text, file)
    plain = {k: v for k, v in raw.items() if k == "variables"}
    variables = _validated(ModuleConfig, plain, text, file).variables
    values = {"module": name}
    for key, variable in variables.items():
        value = variable.default if isinstance(variable, Variable) else variable
        if value is None:
            about = f" ({variable.help})" if isinstance(variable, Variable) else ""
            missing = Problem(
                ("variables", key),
                f"variable {key!r}{about} has no value",
                f"Give it one: --set {key}=VALUE",
            )
            refuse(located([missing], file, text))
        values[key] = value or ""
    replaced, problems = substitute(raw, values)
    refuse(located(problems, file, text))
    return _validated(ModuleConfig, replaced, text, file)


def module_files(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Relative path -> (mode, content) of module.toml and scripts/*."""
    files: dict[str, tuple[int, bytes]] = {}
    candidates = [directory / MODULE_FILE]
    if (directory / "scripts").is_dir():
        candidates += sorted(p for p in (directory / "scripts").rglob("*") if p.is_file())
    for path in candidates:
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        files[str(path.relative_to(directory))] = (mode, path.read_bytes())
    return files


def digest_of(files: Mapping[str, tuple[int, bytes]]) -> str:
    """One short text that two nodes compare."""
    digest = hashlib.blake2b(digest_size=16)
    for path, (mode, content) in sorted(files.items()):
        digest.update(f"{path}\0{mode:o}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def check_module_name(name: str) -> None:
    if NAME_PATTERN.fullmatch(name) is None:
        raise ConfigError(
            f"{name!r} cannot be a module's name",
            "Use 1 to 32 of a-z, 0-9 and -, beginning and ending with a letter or digit.",
        )


def read_text(file: Path) -> str:
    """The text of a configuration file; a sentence when it cannot be read."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{file} is larger than 1 MiB", "It cannot be a configuration file.")
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text", "Save it as UTF-8.") from None
    except OSError as e:
        raise ConfigError(f"{file} cannot be read: {e.strerror}") from None


def parse_toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        match = re.search(r"(.*) \(at line (\d+), column (\d+)\)", str(e))
        what, where = (match[1], f" line {match[2]}, column {match[3]}") if match else (str(e), "")
        raise ConfigError(f"{file}{where}: not valid TOML: {what}") from None


def parse_model(model: type[M], text: str, file: str) -> M:
    return _validated(model, parse_toml(text, file), text, file)


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """ "Did you mean ...?" or nothing."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _validated(model: type[M], raw: Mapping[str, Any], text: str, file: str) -> M:
    try:
        return model.model_validate(raw)
    except ValidationError as e:
        places = locate.locate(text)
        problems = [
            _problem(model, _real_path(error["loc"], places), error)
            for error in e.errors(include_url=False)
        ]
        refuse(located(problems, file, text))
        raise


def _real_path(loc: tuple[str | int, ...], places: Mapping[Any, Any]) -> tuple[str | int, ...]:
    """pydantic adds the tried member of a union to a place; the file does not have that."""
    for length in range(len(loc), 0, -1):
        if loc[:length] in places:
            # One key more is a missing key of a table that is there.
            return loc[: length + 1]
    return loc


# How a person writes what the schema wants: the words of the checker are Python's.
_AS_IN_THE_FILE: Mapping[str, str] = {
    "tuple_type": 'a list, such as ["one", "two"]',
    "dict_type": 'a table, such as { name = "value" }',
    "bool_type": "true or false, without quotes",
    "int_type": "a whole number, without quotes",
    "string_type": "text, in quotes",
}


def _problem(model: type[BaseModel], path: tuple[str | int, ...], error: Any) -> Problem:
    key = next((str(p) for p in reversed(path) if isinstance(p, str)), "")
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return Problem(
            path,
            f"there is no key {key!r} in {_table(path[:-1])}",
            nearest(key, known) or f"Known are: {', '.join(known)}.",
        )
    if kind == "missing":
        return Problem(path, f"{_table(path[:-1])} needs the key {key!r}", f"Add {key} = ...")
    if kind == "value_error":
        return Problem(path, f"{key}: {context['error']}" if path else str(context["error"]))
    if kind == "literal_error":
        given = error["input"]
        return Problem(path, f"{key} cannot be {given!r}", f"Possible are {context['expected']}.")
    if kind in _AS_IN_THE_FILE:
        given = json.dumps(error["input"], default=str)
        return Problem(path, f"{key} is {given}", f"It must be {_AS_IN_THE_FILE[kind]}.")
    message = error["msg"].replace("Input should", "must").replace("String should", "must")
    return Problem(path, f"{key}: {message}, but it is {error['input']!r}")


def _table(path: tuple[str | int, ...]) -> str:
    names = [str(p) for p in path if isinstance(p, str)]
    return f"[{'.'.join(names)}]" if names else "the file"


def _known_keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    here: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or here is None:
            continue
        fields = {f.alias or n: f.annotation for n, f in here.model_fields.items()}
        here = _model_in(fields.get(part)) if part in fields else here
    return [f.alias or n for n, f in here.model_fields.items()] if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section class inside `tuple[Service, ...]`, `Ready | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(a) for a in typing.get_args(annotation))
    return next((m for m in inner if m is not None), None)
