"""What one module may be, beside the others, on one machine: each rule refuses in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from twofold.config.check import check_module, next_port
from twofold.config.load import Module, NodeConfig, parse_cluster, parse_module
from twofold.config.problem import located
from twofold.config.question import Facts

CLUSTER = parse_cluster("""
[cluster]
id = "00000000-0000-4000-8000-000000000000"
[[network]]
name = "lan"
[[node]]
name = "a"
addresses = { lan = "10.77.0.1" }
[[node]]
name = "b"
addresses = { lan = "10.77.0.2" }
""")
NODE = NodeConfig(Path("/etc/twofold"), "a", CLUSTER)
MODULE = """
[module]
default_primary = "none"
[replication]
directories = ["/srv/files"]
port = 9100
[[address]]
ip = "10.77.0.100/24"
[[service]]
name = "app"
command = ["/bin/app"]
user = "nobody"
[[checker]]
name = "app"
kind = "process"
service = "app"
"""
FACTS = Facts(
    directories={"/srv/files": "/srv/files", "/srv/link": "/srv/files", "/srv/a": "/srv/a"},
    networks={"eth0": ("10.77.0.1/24",), "eth1": ("fd00::1/64",)},
    users=frozenset({"nobody"}),
    scripts=frozenset({"app"}),
    reserved=("/etc/twofold", "/var/lib/twofold", "/run/twofold"),
    has_systemd=False,
)


def module(text: str, name: str = "files") -> Module:
    return Module(name, parse_module(name, text), Path("/etc/twofold/modules") / name, "")


def sentences(text: str, others: list[Module] | None = None, facts: Facts = FACTS) -> list[str]:
    problems = check_module(module(text), others or [], NODE, facts)
    return [
        f"{p.sentence()}. {p.mend}" for p in located(problems, "module.toml", text)
    ]  # as a person reads them


def test_a_right_module_has_no_problem() -> None:
    assert sentences(MODULE) == []


def test_itself_is_not_another_module() -> None:
    assert sentences(MODULE, [module(MODULE)]) == []


@pytest.mark.parametrize(
    ("directory", "sentence"),
    [
        ("/srv/nothing", "'/srv/nothing' does not exist on node a. Make it there: mkdir -p"),
        ("srv/files", "'srv/files' is not an absolute path"),
        ("/srv/../srv/files", "is not written plainly. Write '/srv/files'."),
        ("/srv/files/", "is not written plainly. Write '/srv/files'."),
        ("/", "'/' is the whole system"),
        ("/proc/1", "inside /proc"),
        ("/sys", "inside /sys"),
        ("/dev/shm", "inside /dev"),
        ("/run/twofold/x", "inside /run/twofold"),
        ("/var/lib/twofold", "inside /var/lib/twofold"),
        ("/var", "contains /var/lib/twofold"),
        ("/etc", "contains /etc/twofold"),
        ("/srv/link", "leads through a symbolic link to '/srv/files'"),
    ],
)
def test_bad_directories(directory: str, sentence: str) -> None:
    found = sentences(MODULE.replace("/srv/files", directory, 1))
    assert any(sentence in s for s in found), found
    assert found[0].startswith("module.toml line 5, column 16: ")


@pytest.mark.parametrize("theirs", ["/srv/files", "/srv/files/below", "/srv"])
def test_a_directory_belongs_to_one_module(theirs: str) -> None:
    other = module(MODULE.replace("/srv/files", theirs).replace("9100", "9101"), "other")
    assert any("of module 'other'" in s for s in sentences(MODULE, [other]))


def test_a_directory_beside_another_with_the_same_beginning_is_fine() -> None:
    other = MODULE.replace("/srv/files", "/srv/files2").replace("9100", "9101")
    other = other.replace("10.77.0.100", "10.77.0.101")
    assert sentences(MODULE, [module(other, "other")]) == []


def test_directories_of_one_module_do_not_overlap() -> None:
    text = MODULE.replace('["/srv/files"]', '["/srv/a", "/srv/a/b"]')
    facts = replace(FACTS, directories={"/srv/a": "/srv/a", "/srv/a/b": "/srv/a/b"})
    assert any("overlaps '/srv/a' of the same module" in s for s in sentences(text, [], facts))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("10.77.0.100/24", "10.77.0.2/24"), "10.77.0.2 is node b's own address"),
        (("10.77.0.100/24", "10.99.0.1/24"), "no interface on node a is in the network"),
        (('/24"', '/24"\ninterface = "eth7"'), "there is no interface 'eth7' on node a"),
        (("port = 9100", "port = 9011"), "port 9011 is Twofold's own"),
        (("port = 9100", ""), "[replication] needs a port. Add port = 9100."),
        (('user = "nobody"', 'user = "ghost"'), "there is no user 'ghost' on node a"),
        (('service = "app"', 'service = "ap"'), "which the module does not have. Did you mean"),
        (('default_primary = "none"', 'default_primary = "c"'), "there is no node 'c'"),
        (("[module]", '[module]\nkind = "farm"'), "'farm' are not part of this version"),
        (("[module]", '[module]\nkind = "farm"'), "'farm' are not part of this version"),
        (("[module]", '[module]\narbitration = "ping"'), "names no address to ping"),
        (("[module]", '[module]\narbitration = "witness"'), "the cluster has no witness"),
        (('command = ["/bin/app"]', 'script = "run"'), "no executable scripts/run"),
        (('command = ["/bin/app"]', 'systemd = "x"'), "systemd does not run on node a"),
    ],
)
def test_each_rule_refuses_in_a_sentence(change: tuple[str, str], sentence: str) -> None:
    assert change[0] in MODULE
    found = sentences(MODULE.replace(*change, 1))
    assert len(found) == 1
    assert sentence in found[0]
    assert found[0].startswith("module.toml line ")


def test_a_file_system_without_handles_is_refused() -> None:
    facts = replace(FACTS, without_handles=frozenset({"/srv/files"}))
    (found,) = sentences(MODULE, [], facts)
    assert "the file system of '/srv/files' on node a gives files no stable identity" in found


def test_a_mirror_needs_directories() -> None:
    text = MODULE[MODULE.index("[[address]]") :]
    assert any("needs a [replication] section" in s for s in sentences(text))


def test_names_are_there_once() -> None:
    text = MODULE + '[[service]]\nname = "app"\nscript = "app"\n'
    assert any("two services have the name 'app'" in s for s in sentences(text))
    text = MODULE + '[[checker]]\nname = "app"\nkind = "tcp"\naddress = "1.1.1.1:1"\n'
    assert any("two checkers have the name 'app'" in s for s in sentences(text))
    text = MODULE + '[[address]]\nip = "10.77.0.100/24"\n'
    assert any("10.77.0.100 is there twice" in s for s in sentences(text))


def test_ports_and_addresses_of_other_modules() -> None:
    other = module(MODULE.replace("/srv/files", "/srv/a"), "other")
    found = sentences(MODULE, [other])
    assert any("port 9100 belongs to module 'other' already. Use another one, such as 9101" in s
               for s in found)  # fmt: skip
    assert any("10.77.0.100 belongs to module 'other' already" in s for s in found)
    assert next_port([other]) == 9101


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("/srv/files/marker", "Write it without a leading /, such as 'srv/files/marker'"),
        ("../other", "is not a path below the directory"),
        ("", "is not a path below the directory"),
        ("a//b", "such as 'a/b'"),
    ],
)
def test_what_is_required_lies_below_the_directory(wanted: str, sentence: str) -> None:
    text = MODULE.replace("port = 9100", f'port = 9100\nrequire = ["lost+found", "{wanted}"]')
    (found,) = sentences(text)
    assert sentence in found
    assert sentences(MODULE.replace("port = 9100", 'port = 9100\nrequire = ["a/b"]')) == []


def test_a_pattern_that_means_nothing_is_told_with_its_place() -> None:
    text = MODULE.replace("port = 9100", 'port = 9100\nexclude = ["*.tmp", "regex:("]')
    assert sentences(text) == []
    facts = replace(FACTS, bad_pattern=(1, "unclosed group"))
    (found,) = sentences(text, facts=facts)
    assert "'regex:(' is no pattern: unclosed group" in found
    assert "Write a name (*.tmp), a directory (cache/)" in found


def test_a_map_of_what_changed_does_not_go_with_exclusions() -> None:
    text = MODULE.replace("port = 9100", 'port = 9100\ndirty_map = true\nexclude = ["*.tmp"]')
    (found,) = sentences(text)
    assert "dirty_map = true does not go with exclude" in found
    assert "Leave one of the two out" in found


def test_the_kernels_cache_is_needed_for_fsync() -> None:
    text = MODULE.replace("port = 9100", 'port = 9100\ncache = "none"')
    assert sentences(text) == []
    (found,) = sentences(text.replace("cache =", 'sync = "fsync"\ncache ='))
    assert 'cache = "none" cannot be' in found
