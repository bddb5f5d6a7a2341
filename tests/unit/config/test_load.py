"""A wrong file is refused in a sentence with file, line, column and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.config.load import (
    load_module,
    load_node,
    parse_cluster,
    parse_module,
)
from twofold.config.schema import Variable
from twofold.errors import ConfigError

CLUSTER = """
[cluster]
name = "site"
id = "00000000-0000-4000-8000-000000000000"
[[network]]
name = "lan"
[[network]]
name = "flow"
flow = true
[[node]]
name = "a"
addresses = { lan = "10.77.0.1", flow = "10.77.1.1" }
[[node]]
name = "b"
addresses = { lan = "10.77.0.2", flow = "10.77.1.2" }
"""
MODULE = """
[module]
failover = true
[replication]
directories = ["/srv/files"]
port = 9100
[[address]]
ip = "${address}"
[[service]]
name = "app"
command = ["/bin/app", "--listen", "${address.host}:80", "$${HOME}", "${module}"]
start_timeout = "5s"
[[checker]]
name = "app"
kind = "tcp"
address = "${address.host}:80"
[variables]
address = "fd00::1/64"
"""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_module("files", text)
    return str(caught.value)


def test_defaults_and_units() -> None:
    cluster = parse_cluster(CLUSTER)
    assert cluster.heartbeat.interval_s == 0.2
    assert cluster.heartbeat.timeout_s == 3.0
    module = parse_module("files", MODULE)
    assert module.services[0].start_timeout_s == 5.0
    assert module.services[0].stop_timeout_s == 30.0
    assert module.module.max_loops == 3
    assert module.replication is not None
    assert module.replication.sync == "write"
    assert module.replication.peer_timeout_s is None


def test_variables() -> None:
    module = parse_module("files", MODULE)
    assert module.addresses[0].ip == "fd00::1/64"
    assert module.services[0].command == (
        "/bin/app",
        "--listen",
        "[fd00::1]:80",
        "${HOME}",
        "files",
    )
    assert module.checkers[0].address == "[fd00::1]:80"


def test_a_described_variable_needs_a_value_or_a_default() -> None:
    required = MODULE.replace('"fd00::1/64"', '{ help = "the address" }')
    assert "variable 'address' (the address) has no value" in refusal(required)
    assert "--set address=VALUE" in refusal(required)
    given = MODULE.replace('"fd00::1/64"', '{ default = "10.0.0.9/24" }')
    module = parse_module("files", given)
    assert isinstance(module.variables["address"], Variable)
    assert module.addresses[0].ip == "10.0.0.9/24"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("failover =", "faliover ="),
            "module.toml line 3, column 1: there is no key 'faliover' in [module]. "
            "Did you mean 'failover'?",
        ),
        (("[replication]", "[replicaton]"), "there is no key 'replicaton' in the file. Did you"),
        (('name = "app"\ncommand', "command"), "line 9, column 1: [service] needs the key 'name'"),
        (('"5s"', "5"), "line 12, column 1: start_timeout: 5 is not a duration"),
        (('"5s"', '"5 sec"'), "start_timeout: '5 sec' has an unknown unit 'sec'"),
        (("= 9100", "= 80"), "line 6, column 1: port"),
        (
            ('kind = "tcp"', 'kind = "web"'),
            "kind cannot be 'web'. Possible are 'process',",
        ),
        (("${address}", "${adress}"), "line 8, column 1: there is no variable 'adress'. Did you"),
        (('"fd00::1/64"', '"fd00::1"'), "is not an IP address with its prefix"),
        (("[[service]]", "[[service]"), "module.toml line 9, column 10: not valid TOML"),
        (('command = ["/bin/app"', 'command = ["app"'), "must be an absolute path"),
        (("start_timeout", 'systemd = "x"\nstart_timeout'), "has command and systemd"),
        (('kind = "tcp"', 'kind = "process"'), "of kind process needs the key service"),
        (('name = "app"\nkind', 'name = "Ap p"\nkind'), "is not a name"),
        (
            ("failover = true", 'failover = "yes"'),
            'line 3, column 1: failover is "yes". It must be true or false, without quotes.',
        ),
        (
            ("= 9100", '= 9100\nexclude = "*.tmp"'),
            'exclude is "*.tmp". It must be a list, such as ["one", "two"].',
        ),
        (("= 9100", '= "9100"'), 'port is "9100". It must be a whole number, without quotes.'),
        (("failover = true", "description = 5"), "description is 5. It must be text, in quotes."),
        (("failover = true", "max_loops = -1"), "max_loops: must be greater than or equal to 0"),
    ],
)
def test_every_mistake_is_a_sentence_with_a_place(change: tuple[str, str], sentence: str) -> None:
    assert change[0] in MODULE
    assert sentence in refusal(MODULE.replace(*change, 1))


def test_all_mistakes_are_named_at_once() -> None:
    text = refusal(MODULE.replace("failover", "failovr").replace('"5s"', "5"))
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('name = "b"', 'name = "a"'), "node 'a' is there twice"),
        (("10.77.0.2", "10.77.0.1"), "10.77.0.1 belongs to node a on lan already"),
        (
            ("{ lan =", "{ laan ="),
            "on network 'laan', which is not in the file. Did you mean 'lan'",
        ),
        (('"10.77.0.2"', '"10.77.0.2/24"'), "is not an IP address"),
        (('name = "flow"', 'name = "lan"'), "network 'lan' is there twice"),
        (('id = "00000000', 'id = "zz'), "id"),
    ],
)
def test_a_wrong_cluster_is_refused(change: tuple[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_cluster(CLUSTER.replace(*change, 1))
    assert sentence in str(caught.value)


def test_a_timeout_of_one_lost_datagram_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least four intervals"):
        parse_cluster(CLUSTER + '[heartbeat]\ntimeout = "300ms"\n')


def test_the_node_knows_its_place(tmp_path: Path) -> None:
    assert load_node(tmp_path) is None
    (tmp_path / "cluster.toml").write_text(CLUSTER)
    assert load_node(tmp_path) is None
    (tmp_path / "node.toml").write_text('name = "b"\n')
    node = load_node(tmp_path)
    assert node is not None
    assert [p.name for p in node.peers] == ["a"]
    assert node.addresses_of("a") == ("10.77.1.1", "10.77.0.1"), "the flow network first"
    (tmp_path / "node.toml").write_text('name = "c"\n')
    with pytest.raises(ConfigError, match=r"node 'c', which cluster.toml does not name"):
        load_node(tmp_path)


def test_modules_on_disk(tmp_path: Path) -> None:
    directory = tmp_path / "modules" / "files"
    (directory / "scripts").mkdir(parents=True)
    (directory / "module.toml").write_text(MODULE)
    first = load_module(tmp_path, "files").digest
    (directory / "scripts" / "start").write_text("#!/bin/sh\n")
    second = load_module(tmp_path, "files").digest
    (directory / "scripts" / "start").chmod(0o755)
    assert len({first, second, load_module(tmp_path, "files").digest}) == 3
    with pytest.raises(ConfigError, match="Did you mean 'files'"):
        load_module(tmp_path, "flies")


@given(
    st.integers(0, len(MODULE)),
    st.integers(0, 6),
    st.text(alphabet="[]{}=\"'\n\\#.,$ a1é\x00", max_size=5),
)
@settings(max_examples=400, deadline=None)
def test_any_damage_is_a_module_or_a_sentence(at: int, deleted: int, inserted: str) -> None:
    """No damage to a file leads to anything but a value or a refusal."""
    try:
        parse_module("files", MODULE[:at] + inserted + MODULE[at + deleted :])
    except ConfigError as e:
        assert "module.toml" in str(e)
