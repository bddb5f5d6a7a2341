"""An annotated example of each configuration file, generated from the schema: every key that there
is, commented out with its default and what it means; what must be given stands uncommented.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from twofold.config.render import default_of, fields_of, section_of, type_text
from twofold.config.schema import ClusterConfig, ModuleConfig, NodeFile

# What a person writes where the schema cannot know: the values that must be given.
_GIVEN: dict[str, str] = {
    "id": '"00000000-0000-4000-8000-000000000000"',
    "network.name": '"lan"',
    "node.name": '"a"',
    "addresses": '{ lan = "10.0.0.1" }',
    "directories": '["/srv/files"]',
    "ip": '"10.0.0.100/24"',
    "service.name": '"app"',
    "checker.name": '"app"',
    "witness.name": '"w"',
    "notify.name": '"ops"',
    "name": '"a"',
    "kind": '"tcp"',
}
_ONE_OF: dict[str, str] = {  # without one of these the section would be refused
    "service.command": 'command = ["/usr/local/bin/app"]',
    "checker.address": 'address = "127.0.0.1:8080"',
    "witness.address": 'address = "10.0.0.9:9013"',
}
_OPTIONAL = frozenset({"witness", "notify"})  # a section that few have: all of it is commented out
MODELS: dict[str, type[BaseModel]] = {
    "module": ModuleConfig,
    "cluster": ClusterConfig,
    "node": NodeFile,
}


def example(file: str) -> str:
    """`file` is one of `MODELS`."""
    model = MODELS[file]
    lines = [f"# An example of {file}.toml with every key. Written by: twofold config example"]
    plain = [(k, f) for k, f in fields_of(model) if section_of(f) is None]
    lines += [line for key, field in plain if key != "variables" for line in _key("", key, field)]
    for key, field in fields_of(model):
        section = section_of(field)
        if section is not None and key != "variables":
            lines += _section(key, field, section)
    if file == "module":
        lines += ["", "# ${name} in any text above is replaced; --set name=value changes it.",
                  "[variables]", '# name = "value"',
                  '# other = { default = "value", help = "What it is for" }']  # fmt: skip
    return "\n".join(lines) + "\n"


def _section(key: str, field: FieldInfo, section: type[BaseModel]) -> Iterator[str]:
    mark = "# " if key in _OPTIONAL else ""
    many = get_origin(field.annotation) is tuple
    yield from ("", f"# {' '.join((section.__doc__ or '').split())}")
    yield f"{mark}[[{key}]]" if many else f"{mark}[{key}]"
    for name, inner in fields_of(section):
        for line in _key(key, name, inner):
            yield line if line.startswith("#") else f"{mark}{line}"


def _key(section: str, key: str, field: FieldInfo) -> Iterator[str]:
    path = f"{section}.{key}" if section else key
    about = " ".join((field.description or "").split())
    one_of = _ONE_OF.get(path)
    if one_of is not None:
        yield f"{one_of}  # {about}"
    elif field.is_required():
        value = _GIVEN.get(path) or _GIVEN.get(key, '""')
        yield f"{key} = {value}  # {about}"
    else:
        value = default_of(field).strip("`") or f"<{type_text(field)}>"
        yield f"# {key} = {value}  # {about}"
