"""Kubernetes' own schemas, strictly: an unknown field is an error, as on a strict server.

From the package kubernetes-validate; its own `validate` reads several megabytes at each call, so
the validators are kept here.
"""

from __future__ import annotations

import functools
from typing import Any

import jsonschema
from kubernetes_validate import utils
from referencing import Registry, Resource

VERSION = "1.36"
_FOLDER = f"kubernetes-json-schema/v{VERSION}.0-local-strict"
_META = {"DeleteOptions": "meta"}  # its schema is named after the package it is in


@functools.cache
def _definitions() -> Any:
    return Resource.from_contents(utils.schema_contents(f"{_FOLDER}/_definitions.json", VERSION))


@functools.cache
def _validator(api_version: str, kind: str) -> Any:
    group, _, version = api_version.rpartition("/")
    group = _META.get(kind, group.partition(".")[0])
    name = f"{kind}-{group}-{version}" if group else f"{kind}-{version}"
    schema = utils.schema_contents(f"{_FOLDER}/{name.lower()}.json", VERSION)
    made: Any = Registry
    registry = _definitions() @ (Resource.from_contents(schema) @ made())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def wrong(thing: dict[str, Any]) -> str | None:
    """What is wrong with it, or None."""
    found = list(_validator(thing["apiVersion"], thing["kind"]).iter_errors(thing))
    return "; ".join(f"{'.'.join(map(str, e.path))}: {e.message}" for e in found) or None
