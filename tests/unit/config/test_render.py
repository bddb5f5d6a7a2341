"""Texts that we write are texts that we read; a module's comments survive an edit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from twofold.config import render
from twofold.config.library import LIBRARY, library
from twofold.config.load import NodeFile, parse_cluster, parse_model, parse_module
from twofold.config.schema import ModuleConfig
from twofold.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
CLUSTER = """
[cluster]
name = "site"
id = "00000000-0000-4000-8000-000000000000"
[heartbeat]
interval = "100ms"
timeout = "90s"
[[network]]
name = "lan"
[[network]]
name = "flow"
flow = true
[[node]]
name = "a"
addresses = { lan = "10.77.0.1", flow = "fd00::1" }
"""
MODULE = """# The author's comment.
[replication]
directories = ["${directory}"]   # another one
[variables]
directory = "/srv/a"  # where
address = { help = "the address", default = "1" }
[module]
description = "x"
"""


def test_cluster_and_node_are_read_as_written() -> None:
    cluster = parse_cluster(CLUSTER)
    assert parse_cluster(render.cluster_toml(cluster)) == cluster
    assert parse_model(NodeFile, render.node_toml("a"), "node.toml").name == "a"


@pytest.mark.parametrize(
    "value", ["/srv/b", 'a " b', "back\\slash", "ünïcode", "# no comment", "\t"]
)
def test_a_variable_is_set_and_comments_stay(value: str) -> None:
    text = render.set_variables(MODULE, {"directory": value, "address": "10.0.0.1/24"})
    module = parse_module("m", render.set_port(text, 9107))
    assert module.variables == {"directory": value, "address": "10.0.0.1/24"}
    assert module.replication is not None
    assert module.replication.port == 9107
    for comment in ("# The author's comment.", "# another one", "# where", "# the address"):
        assert comment in text


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no variable 'direktory'\. Did you mean 'directory'"):
        render.set_variables(MODULE, {"direktory": "/x"})


def test_a_port_is_replaced() -> None:
    text = render.set_port(render.set_port(MODULE, 9100), 9101)
    assert text.count("port =") == 1
    assert "port = 9101" in text


def test_every_library_module_is_valid_once_its_variables_are_set() -> None:
    modules = list(library())
    assert {"files", "mariadb", "postgresql", "sqlite-demo"} <= {m.name for m in modules}
    for module in modules:
        assert module.description
        needed = {n: "10.0.0.9/24" for n, (default, _) in module.variables.items() if not default}
        text = (LIBRARY / module.name / "module.toml").read_text()
        config = parse_module(module.name, render.set_variables(text, needed))
        assert config.replication is not None
        assert config.addresses


def test_the_json_schema_has_the_keys_of_the_file() -> None:
    schema = json.loads(render.json_schema(ModuleConfig))
    service = schema["$defs"]["Service"]
    assert "start_timeout" in service["properties"]
    assert service["additionalProperties"] is False


def test_the_reference_page_is_fresh() -> None:
    page = ROOT / "docs" / "reference" / "config.md"
    assert page.read_text() == render.reference_page(), (
        "run: .venv/bin/python -m twofold config reference > docs/reference/config.md"
    )
