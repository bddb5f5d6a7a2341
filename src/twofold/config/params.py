"""Variables of a module: `${address}` in any text of module.toml.

A variable comes from `[variables]`; `--set` writes its value there. Built in: `${module}`, the
module's name. Of a variable that is an address with prefix, `${address.ip}` is the bare address
and `${address.host}` the one to put before `:PORT` (IPv6 in brackets). `$${` is a plain `${`.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from typing import Any, cast

from twofold.config.problem import Problem

_REFERENCE = re.compile(r"\$?\$\{([^}]*)\}")


def substitute(
    raw: Mapping[str, Any], values: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """`raw` with every reference replaced, except in [variables]; and what could not be."""
    problems: list[Problem] = []

    def walk(value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: replaced(match, path), value)
        if isinstance(value, Mapping):
            items = cast(Mapping[str, Any], value)
            return {
                k: v if (*path, k) == ("variables",) else walk(v, (*path, k))
                for k, v in items.items()
            }
        if isinstance(value, list):
            elements = cast(list[Any], value)
            return [walk(v, (*path, i)) for i, v in enumerate(elements)]
        return value

    def replaced(match: re.Match[str], path: tuple[str | int, ...]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        try:
            return _value_of(match[1], values)
        except LookupError as e:
            problems.append(Problem(path, *e.args))
        return match[0]

    return walk(raw, ()), problems


def _value_of(reference: str, values: Mapping[str, str]) -> str:
    name, dot, part = reference.partition(".")
    if name not in values:
        near = difflib.get_close_matches(name, values, 1)
        hint = f"Did you mean ${{{near[0]}}}?" if near else "Add it to [variables]."
        raise LookupError(f"there is no variable {name!r}", f"{hint} A plain ${{ is written $${{.")
    if not dot:
        return values[name]
    try:
        ip = ipaddress.ip_interface(values[name]).ip
    except ValueError:
        raise LookupError(
            f"${{{reference}}} needs an address, but {name} is {values[name]!r}",
            f"Give it one: --set {name}=10.0.0.100/24",
        ) from None
    if part == "ip":
        return str(ip)
    if part == "host":
        return f"[{ip}]" if ip.version == 6 else str(ip)
    raise LookupError(f"${{{reference}}} has an unknown part {part!r}", "Use .ip or .host.")
