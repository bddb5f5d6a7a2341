"""From values to text: cluster.toml and node.toml, edited module.toml, reference page, schema.

A module's text is edited, not rewritten: the comments that its author left stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from twofold.config.load import nearest, parse_toml
from twofold.config.schema import ClusterConfig, ModuleConfig, NodeFile
from twofold.config.schema_arbitration import ArbitrationSection, WitnessSection
from twofold.config.schema_checkers import KINDS, Checker
from twofold.config.schema_notify import NotifySection
from twofold.config.units import format_duration, format_size
from twofold.errors import ConfigError

FILES: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("cluster.toml", "equal on all nodes; made and spread by `twofold cluster`", ClusterConfig),
    ("node.toml", "this node's own; made by `twofold cluster init` and `join`", NodeFile),
    (
        "modules/NAME/module.toml",
        "one module, equal on all nodes; checked and spread by `twofold module add` and `apply`",
        ModuleConfig,
    ),
)


# --- TOML ---------------------------------------------------------------------------------------


def cluster_toml(config: ClusterConfig) -> str:
    """cluster.toml as `parse_cluster` reads it."""
    parts = [
        "# Equal on all nodes. Written by: twofold cluster init, join, leave, remove",
        "[cluster]",
        f"name = {quoted(config.cluster.name)}",
        f"id = {quoted(config.cluster.id)}",
        "",
        "[heartbeat]",
        f"interval = {quoted(format_duration(config.heartbeat.interval_s))}",
        f"timeout = {quoted(format_duration(config.heartbeat.timeout_s))}",
    ]
    parts += arbitration_lines(config.arbitration, config.witnesses)
    parts += notify_lines(config.notify)
    for network in config.networks:
        parts += ["", "[[network]]", f"name = {quoted(network.name)}"]
        parts += ["flow = true"] if network.flow else []
    for node in config.nodes:
        pairs = ", ".join(f"{k} = {quoted(v)}" for k, v in node.addresses.items())
        parts += ["", "[[node]]", f"name = {quoted(node.name)}", f"addresses = {{ {pairs} }}"]
    return "\n".join(parts) + "\n"


def arbitration_lines(
    section: ArbitrationSection, witnesses: Iterable[WitnessSection]
) -> Iterator[str]:
    """[arbitration] and each [[witness]], as far as they are not the default."""
    if section != type(section).model_validate({}):
        yield from ("", "[arbitration]")
        if section.ping:
            yield f"ping = [{', '.join(quoted(a) for a in section.ping)}]"
        yield f"timeout = {quoted(format_duration(section.timeout_s))}"
    for witness in witnesses:
        yield from ("", "[[witness]]", f"name = {quoted(witness.name)}")
        yield f"kind = {quoted(witness.kind)}"
        if witness.endpoints:
            yield f"endpoints = [{', '.join(quoted(e) for e in witness.endpoints)}]"
        for key in ("address", "ca", "cert", "key"):
            if (value := getattr(witness, key)) is not None:
                yield f"{key} = {quoted(value)}"


def notify_lines(targets: Iterable[NotifySection]) -> Iterator[str]:
    """Each [[notify]], as far as it is not the default."""
    for target in targets:
        yield from ("", "[[notify]]", f"name = {quoted(target.name)}")
        for name, field in type(target).model_fields.items():
            value: Any = getattr(target, name)
            if name == "name" or value == field.default:
                continue
            key = field.alias or name
            if isinstance(value, tuple):
                texts = ", ".join(quoted(str(v)) for v in cast(tuple[Any, ...], value))
                yield f"{key} = [{texts}]"
            elif isinstance(value, float):
                yield f"{key} = {quoted(format_duration(value))}"
            else:
                yield f"{key} = {quoted(value) if isinstance(value, str) else value}"


def arbitration_toml(config: ClusterConfig) -> str:
    """The part of cluster.toml that says who rules."""
    lines = arbitration_lines(config.arbitration, config.witnesses)
    return "\n".join(lines).strip() + "\n"


def node_toml(name: str) -> str:
    return f"# Which node of cluster.toml this machine is.\nname = {quoted(name)}\n"


def quoted(text: str) -> str:
    """A TOML basic string (JSON's escapes are a subset of TOML's)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def set_variables(text: str, values: Mapping[str, str], file: str = "module.toml") -> str:
    """The text with new values in [variables]; a variable that is not there is refused."""
    known = parse_toml(text, file).get("variables", {})
    for key, value in values.items():
        if key not in known:
            near = nearest(key, known)
            listed = f"It has {', '.join(known)}." if known else "It has none."
            raise ConfigError(f"{file}: the module has no variable {key!r}", near or listed)
        text = _assign(text, "variables", key, quoted(value))
    return text


def set_port(text: str, port: int) -> str:
    """The text with `[replication] port`."""
    return _assign(text, "replication", "port", str(port))


def set_nodes(text: str, names: Sequence[str]) -> str:
    """The text with `[module] nodes`."""
    if re.search(r"^[ \t]*\[[ \t]*module[ \t]*\]", text, re.MULTILINE) is None:
        text = f"[module]\n\n{text}"
    return _assign(text, "module", "nodes", f"[{', '.join(quoted(n) for n in names)}]")


def _assign(text: str, table: str, key: str, value: str) -> str:
    header = re.search(rf"^[ \t]*\[[ \t]*{table}[ \t]*\][^\n]*\n?", text, re.MULTILINE)
    if header is None:
        raise ConfigError(
            f"the module has no section [{table}] on a line of its own",
            f"Write [{table}] and its keys below each other.",
        )
    end = re.search(r"^[ \t]*\[", text[header.end() :], re.MULTILINE)
    stop = header.end() + end.start() if end else len(text)
    body = text[header.end() : stop]
    line = re.compile(rf"^([ \t]*{key}[ \t]*=[ \t]*)([^\n]*)$", re.MULTILINE)
    if line.search(body):
        body = line.sub(lambda m: m[1] + value + _comment(m[2]), body, count=1)
    else:
        body = f"{key} = {value}\n{body}"
    return text[: header.end()] + body + text[stop:]


def _comment(rest: str) -> str:
    """What stands behind the value on its line; a described variable's help is kept as comment."""
    described = re.search(r'help\s*=\s*"((?:\\.|[^"\\])*)"', rest)
    if rest.startswith("{") and described:
        return f"  # {described[1]}"
    behind = re.fullmatch(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[^#"']*?)\s*(#.*)?""", rest)
    return f"  {behind[1]}" if behind and behind[1] else ""


# --- reference ----------------------------------------------------------------------------------


def json_schema(model: type[BaseModel]) -> str:
    """JSON Schema for editors, with the keys of the file."""
    return json.dumps(model.model_json_schema(by_alias=True), indent=2) + "\n"


def reference_page() -> str:
    """docs/reference/config.md: every key, its type, its default and what it means."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `src/twofold/config/schema.py` by `twofold config reference`; do not edit.",
        "",
        'Files are TOML under `/etc/twofold`. A value with a unit is a text: durations `"200ms"`',
        '`"3s"` `"5min"` `"24h"` `"1d"`, sizes `"512KiB"` `"1MiB"` `"2GB"`. Unknown',
        "keys are refused with the nearest known one; refusals name file, line and column.",
    ]
    for file, what, model in FILES:
        lines += ["", f"## {file}", "", f"{what[0].upper()}{what[1:]}.", ""]
        lines += _sections(model)
    lines += ["", *_VARIABLES_PAGE]
    return "\n".join(lines) + "\n"


_VARIABLES_PAGE = (
    "## Variables",
    "",
    "`${name}` in any text of module.toml is replaced by the value in `[variables]`; `--set` of",
    '`twofold module add` and `apply` writes it there. `name = { help = "..." }` is a variable',
    'that must be given, with `default = "..."` one that may be. Built in: `${module}`. Of an',
    "address with prefix, `${name.ip}` is the bare address and `${name.host}` the form before",
    "`:PORT` (IPv6 in brackets). `$${` stands for a plain `${`.",
)


def _sections(model: type[BaseModel]) -> Iterator[str]:
    plain = [(k, f) for k, f in fields_of(model) if section_of(f) is None]
    if plain:
        yield from _table(plain)
    for key, field in fields_of(model):
        section = section_of(field)
        if section is not None:
            many = get_origin(field.annotation) is tuple
            yield from ("", f"### `[[{key}]]`" if many else f"### `[{key}]`", "")
            yield from (" ".join((section.__doc__ or "").split()), "")
            yield from _table(list(fields_of(section)))
            yield from _kinds() if section is Checker else ()


def _kinds() -> Iterator[str]:
    """Which keys each kind of checker has."""
    yield from (
        "",
        "| kind | needs | may have | interval | timeout |",
        "| --- | --- | --- | --- | --- |",
    )
    for kind, keys in KINDS.items():
        needs, may = (", ".join(f"`{k}`" for k in some) for some in (keys.needs, keys.may))
        yield f"| `{kind}` | {needs} | {may} | `{keys.interval}` | `{keys.timeout}` |"


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _table(fields: list[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key, field in fields:
        cells = (f"`{key}`", type_text(field), default_of(field), field.description or "")
        yield "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    candidates = [field.annotation, *get_args(field.annotation)]
    for kind in candidates:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            # `ready` and described variables are inline tables, they read better as values.
            return None if len(kind.model_fields) < 2 and kind is not NodeFile else kind
    return None


def type_text(field: FieldInfo) -> str:
    kind = field.annotation
    schema: dict[str, Any] = {}
    for extra in field.metadata:
        schema |= getattr(extra, "json_schema", None) or {}
    inner = [_bare(a) for a in get_args(kind) if a is not type(None)]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{v}`" for v in get_args(kind))
    if Literal in (get_origin(k) for k in inner):
        return ", ".join(f"`{v}`" for v in get_args(inner[0]))
    text = str(kind)
    if "parse_duration" in text or "(ms|s|min|h|d)" in f"{schema}{text}":
        return "duration"
    if "parse_size" in text or "KMGT" in f"{schema}{text}":
        return "size"
    if get_origin(kind) is tuple and _bare(get_args(kind)[0]) is int:
        return "list of numbers"
    if get_origin(kind) is tuple or any(get_origin(a) is tuple for a in inner):
        return "list of texts"
    if get_origin(kind) is dict:
        return "table"
    names = {bool: "true or false", int: "whole number", str: "text"}
    for candidate in (kind, *inner):
        if isinstance(candidate, type) and candidate in names:
            return names[candidate]
    return "table" if _is_table(kind, inner) else "text"


def _bare(kind: Any) -> Any:
    """`int` of `Annotated[int, ...]`."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _is_table(kind: object, inner: list[Any]) -> bool:
    return any(isinstance(k, type) and issubclass(k, BaseModel) for k in (kind, *inner))


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    kind = type_text(field)
    if kind == "duration":
        return f'`"{format_duration(value)}"`'
    if kind == "size":
        return f'`"{format_size(value)}"`'
    return f"`{json.dumps(value)}`" if isinstance(value, str | int) else ""
