"""What a changed configuration does to what runs: at once, at the next start, or only when stopped.

Both texts are flattened to keys such as `checker.web.interval`, with variables replaced, and each
key that differs is looked up in a table by its longest known beginning. The table is the whole
truth about what can change while a module runs; the daemon acts by it, `--dry-run` prints it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, cast

from twofold.config.difference import Files
from twofold.config.load import parse_toml
from twofold.config.params import substitute

SCRIPTS = "scripts"


class When(StrEnum):
    NOW = "now"
    NEXT_START = "next_start"  # the module runs on as it is until somebody stops and starts it
    STOPPED = "stopped"  # refused while the module runs
    NEVER = "never"


WHEN_OF_MODULE: Mapping[str, When] = {
    "module": When.NOW,
    "module.kind": When.STOPPED,
    "module.nodes": When.STOPPED,
    "module.arbitration": When.NEXT_START,
    "checker.*.interval": When.NOW,
    "checker.*.failures": When.NOW,
    "checker.*.successes": When.NOW,
    "replication": When.STOPPED,
    "replication.resync_limit": When.NOW,
    "replication.verify_limit": When.NEXT_START,
    "replication.peer_timeout": When.NEXT_START,
    "replication.require": When.NEXT_START,
    "replication.exclude": When.NEXT_START,
    "replication.dirty_map": When.NEXT_START,
    "replication.rescue_limit": When.NEXT_START,
    "replication.rescue_keep": When.NEXT_START,
    "replication.rescue_reserve": When.NEXT_START,
    "replication.rescue_when_full": When.NEXT_START,
    "variables": When.NOW,  # what they stand in has a line of its own
    SCRIPTS: When.NOW,
}
WHEN_OF_CLUSTER: Mapping[str, When] = {
    "cluster.id": When.NEVER,
    "node": When.STOPPED,
}


@dataclass(frozen=True)
class Effect:
    """One key that differs; values as they stand in the file, None where it is not."""

    key: str
    before: Any
    after: Any
    when: When


def module_effects(before: Files | None, after: Files | None, name: str) -> list[Effect]:
    old, new = _module_keys(before, name), _module_keys(after, name)
    effects = _compared(old, new, WHEN_OF_MODULE, When.NEXT_START)
    kinds = {e.key for e in effects if e.key.startswith("checker.") and e.key.endswith(".kind")}
    whole = tuple(
        k.removesuffix("kind") for k in kinds
    )  # a checker that comes, goes, or is another
    return [replace(e, when=When.NEXT_START) if e.key.startswith(whole) else e for e in effects]


def cluster_effects(before: str, after: str) -> list[Effect]:
    old = dict(flattened(parse_toml(before, "cluster.toml")))
    new = dict(flattened(parse_toml(after, "cluster.toml")))
    effects = _compared(old, new, WHEN_OF_CLUSTER, When.NOW)
    names = _members(old) ^ _members(new)
    return [e if e.key not in names else Effect(e.key, e.before, e.after, When.NEVER)
            for e in effects]  # fmt: skip


def _members(keys: Mapping[str, Any]) -> set[str]:
    """The keys that name the nodes: who is in the cluster changes by joining and leaving."""
    return {k for k in keys if k.startswith("node.") and k.endswith(".name")}


def _compared(
    old: Mapping[str, Any], new: Mapping[str, Any], table: Mapping[str, When], other: When
) -> list[Effect]:
    keys = [*new, *(k for k in old if k not in new)]
    return [
        Effect(k, old.get(k), new.get(k), _when(k, table, other))
        for k in keys
        if old.get(k) != new.get(k)
    ]


def _when(key: str, table: Mapping[str, When], other: When) -> When:
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        found = table.get(".".join(parts[:length]))
        if found is None and length > 1:  # whatever it is called
            found = table.get(".".join((parts[0], "*", *parts[2:length])))
        if found is not None:
            return found
    return other


def _module_keys(files: Files | None, name: str) -> dict[str, Any]:
    if files is None:
        return {}
    raw = parse_toml(files["module.toml"][1].decode("utf-8", "replace"), "module.toml")
    values = {"module": name, **_values(raw.get("variables"))}
    keys = dict(flattened({**substitute(raw, values)[0], "variables": values}))
    keys.pop("variables.module", None)
    for path, (mode, content) in files.items():
        if path != "module.toml":
            keys[f"{SCRIPTS}.{path.removeprefix('scripts/')}"] = _brief(mode, content)
    return keys


def _brief(mode: int, content: bytes) -> str:
    short = hashlib.blake2b(content, digest_size=4).hexdigest()
    return f"{len(content)} bytes, {short}{', executable' if mode & 0o100 else ''}"


def _values(variables: Any) -> dict[str, str]:
    if not isinstance(variables, dict):
        return {}
    found: dict[str, str] = {}
    for key, value in cast(dict[str, Any], variables).items():
        if isinstance(value, dict):
            value = cast(dict[str, Any], value).get("default", "")
        found[key] = str(value)
    return found


def flattened(raw: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """("checker.web.interval", "2s"), ...; tables in a list go by their name, else by number."""
    for key, value in raw.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from flattened(cast(Mapping[str, Any], value), f"{path}.")
        elif isinstance(value, list) and any(
            isinstance(v, Mapping) for v in cast(list[Any], value)
        ):
            for number, table in enumerate(cast(list[Mapping[str, Any]], value)):
                label = table.get("name", number) if "name" in table else number
                yield from flattened(table, f"{path}.{label}.")
        else:
            yield path, value


def in_words(effect: Effect) -> str:
    """One line for a person."""
    if effect.before is None:
        what = f"{effect.key} = {effect.after!r} is new"
    elif effect.after is None:
        what = f"{effect.key} is gone (it was {effect.before!r})"
    else:
        what = f"{effect.key}: {effect.before!r} becomes {effect.after!r}"
    when = {
        When.NOW: "at once",
        When.NEXT_START: "when the module next starts",
        When.STOPPED: "only while the module is stopped",
        When.NEVER: "never",
    }[effect.when]
    return f"{what} ({when})"
