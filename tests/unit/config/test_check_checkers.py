"""What a checker may say, in its table and beside the others: each mistake is one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from tests.unit.config.test_check import FACTS, MODULE, module, sentences
from twofold.adapters.checkers import Target, make_checker
from twofold.config.load import parse_module
from twofold.config.schema_checkers import KINDS, Checker, CheckerKind
from twofold.errors import ConfigError

EXAMPLES: dict[str, dict[str, Any]] = {
    "process": {"service": "app"},
    "systemd": {"unit": "mariadb.service"},
    "tcp": {"address": "127.0.0.1:80"},
    "http": {"url": "http://127.0.0.1/"},
    "ping": {"host": "10.77.0.254"},
    "interface": {"interface": "eth0"},
    "address": {},
    "mount": {},
    "disk": {"path": "/srv"},
    "sql": {"engine": "mariadb"},
    "script": {"script": "app"},
    "module": {"module": "db"},
}


def checker(kind: str, **keys: Any) -> Checker:
    return Checker.model_validate({"name": "c", "kind": kind, **EXAMPLES[kind], **keys})


def toml(kind: str, **keys: Any) -> str:
    """MODULE with one more checker."""
    values = {"name": "c", "kind": kind, **EXAMPLES[kind], **keys}
    lines = [f"{key} = {value!r}" for key, value in values.items()]
    return MODULE + "[[checker]]\n" + "\n".join(lines) + "\n"


def test_every_kind_has_its_keys_its_example_and_its_probe() -> None:
    assert set(KINDS) == set(get_args(CheckerKind)) == set(EXAMPLES)
    fields = {f.alias or n for n, f in Checker.model_fields.items()}
    for kind, keys in KINDS.items():
        assert {*keys.needs, *keys.may} <= fields
        assert set(EXAMPLES[kind]) == set(keys.needs)
        probe = make_checker(checker(kind), Target(None, None))  # type: ignore[arg-type]
        assert probe.name == "c"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_needs(kind: CheckerKind) -> None:
    for key in KINDS[kind].needs:
        keys = {k: v for k, v in EXAMPLES[kind].items() if k != key}
        with pytest.raises(ValueError, match=f"checker 'c' of kind {kind} needs the key {key}"):
            Checker.model_validate({"name": "c", "kind": kind, **keys})


def test_what_a_kind_has_no_use_for() -> None:
    with pytest.raises(ValueError, match="of kind tcp has no use for url; it has address"):
        checker("tcp", url="http://a/")
    with pytest.raises(ValueError, match="of kind disk has no use for expect"):
        checker("disk", expect="1")


def test_the_times_are_those_of_the_kind_unless_said() -> None:
    assert (checker("tcp").interval_s, checker("disk").interval_s) == (2.0, 30.0)
    assert (checker("disk", interval="1s").interval_s, checker("mount").timeout_s) == (1.0, 10.0)


@pytest.mark.parametrize(
    ("kind", "keys", "text"),
    [
        ("http", {"url": "ftp://a/"}, "url must be http://HOST"),
        ("http", {"url": "http:///x"}, "url must be http://HOST"),
        ("http", {"url": "http://u:p@a/"}, "no user or password in the url"),
        ("sql", {"engine": "sqlite"}, "needs database = the absolute path"),
        ("sql", {"engine": "sqlite", "database": "x.db"}, "needs database = the absolute path"),
        ("sql", {"engine": "sqlite", "database": "/x", "user": "u"}, "has no use for user"),
        ("mount", {"path": "srv"}, "String should match pattern"),
        ("disk", {"free_percent": 100}, "less than or equal to 99"),
        ("tcp", {"failures": 0}, "greater than or equal to 1"),
        ("tcp", {"successes": 0}, "greater than or equal to 1"),
        ("script", {"script": "../app"}, "String should match pattern"),
    ],
)
def test_wrong_values(kind: str, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        checker(kind, **keys)


def test_an_error_names_the_place() -> None:
    with pytest.raises(ConfigError, match=r"module.toml line 17, column 1: .*has no use for url"):
        parse_module("files", toml("tcp", url="http://a/"))


FULL = replace(FACTS, has_systemd=True, programs=frozenset({"mariadb"}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_one_has_no_problem(kind: str) -> None:
    others = [module('[replication]\ndirectories = ["/srv/a"]\nport = 9101', "db")]
    assert sentences(toml(kind), others, FULL) == []


@pytest.mark.parametrize(
    ("kind", "keys", "text"),
    [
        ("process", {"service": "ap"}, "watches service 'ap', which the module does not have. Did"),
        ("systemd", {}, "watches a systemd unit, and systemd does not run on node a"),
        ("interface", {"interface": "eth7"}, "watches interface 'eth7', which is not on node a"),
        ("address", {"ip": "10.77.0.1"}, "watches 10.77.0.1, which is no virtual address"),
        ("address", {"side": "both"}, "the secondary never has the virtual address"),
        ("sql", {}, "asks with the program mariadb, which is not on node a. Install it there: apt"),
        ("script", {"script": "look"}, "calls scripts/look, which is not there or not executable"),
        ("script", {"run_as": "web"}, "runs as user 'web', who does not exist on node a"),
        ("module", {}, "watches module 'db', which is not on node a"),
        ("module", {"module": "files"}, "watches its own module"),
        ("module", {"node": "c"}, "looks on node 'c', which the cluster does not have"),
    ],
)
def test_each_wrong_thing_is_a_sentence(kind: str, keys: dict[str, Any], text: str) -> None:
    (sentence,) = sentences(toml(kind, **keys))
    assert text in sentence


def test_two_checkers_of_one_name() -> None:
    (sentence,) = sentences(toml("tcp", name="app"))
    assert "two checkers have the name 'app'" in sentence


def test_modules_that_watch_each_other_in_a_circle() -> None:
    def other(name: str, watches: str, port: int) -> str:
        return (
            f'[replication]\ndirectories = ["/srv/{name}"]\nport = {port}\n'
            f'[[checker]]\nname = "m"\nkind = "module"\nmodule = "{watches}"'
        )

    others = [module(other("db", "web", 9101), "db"), module(other("web", "files", 9102), "web")]
    (sentence,) = sentences(toml("module"), others)
    assert "modules watch each other in a circle: files -> db -> web -> files" in sentence


def test_a_mount_of_nothing() -> None:
    text = '[[checker]]\nname = "c"\nkind = "mount"\n'
    assert any("has no path, and the module replicates no directory" in s for s in sentences(text))
    text = text.replace("mount", "address")
    assert any("watches the module's virtual address, it has none" in s for s in sentences(text))
