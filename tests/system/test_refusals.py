"""Bad input on real daemons: refused in a sentence with the mend, and nothing half-applied."""

from __future__ import annotations

import time

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other
from twofold.lab.workloads import VIRTUAL_ADDRESS

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(120)]

GOOD = """
[replication]
directories = ["{directory}"]
[[address]]
ip = "{ip}/24"
[[service]]
name = "sleeper"
command = ["/bin/sleep", "1000"]
"""


def refused(pair: Pair, node: str, *words: str) -> str:
    code, said = pair.twofold(node, *words, check=False)
    assert code != 0, said
    assert "Traceback" not in said
    return said


def put(pair: Pair, node: str, name: str, text: str) -> str:
    """A module's directory on a node, ready for `module add`."""
    place = f"/var/tmp/new/{name}"
    script = f"mkdir -p {place} && cat > {place}/module.toml"
    pair.lab.exec(node, ["sh", "-c", script], stdin=text)
    return place


def everywhere(pair: Pair, *command: str) -> None:
    for node in "ab":
        pair.lab.exec(node, list(command))


def modules(pair: Pair, node: str) -> str:
    return pair.twofold(node, "module", "list")[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.format(directory="/srv/absent", ip="10.77.0.101"), ["/srv/absent"]),
        (GOOD.format(directory="/srv/demo/inner", ip="10.77.0.101"), ["demo"]),
        (GOOD.format(directory="/srv/other", ip=VIRTUAL_ADDRESS), [VIRTUAL_ADDRESS, "demo"]),
        ("[module]\nfailovr = true\n", ["failovr", "failover"]),
        (GOOD.format(directory="/srv/other", ip="10.77.0.1"), ["10.77.0.1"]),
    ],
    ids=["no directory", "another's directory", "another's address", "unknown key", "own address"],
)
def test_a_wrong_module_is_refused_on_all_nodes(pair: Pair, text: str, words: list[str]) -> None:
    everywhere(pair, "mkdir", "-p", "/srv/other")
    place = put(pair, "a", "wrong", text)
    said = refused(pair, "a", "module", "add", "wrong", "--from", place)
    for word in words:
        assert word in said
    for node in "ab":
        assert "wrong" not in modules(pair, node)


def test_an_address_of_another_host_is_refused_at_start(pair: Pair) -> None:
    everywhere(pair, "mkdir", "-p", "/srv/taken")
    taken = "10.77.0.120"
    pair.lab.exec("client", ["ip", "addr", "add", f"{taken}/24", "dev", "lan"])
    try:
        place = put(pair, "a", "taken", GOOD.format(directory="/srv/taken", ip=taken))
        pair.twofold("a", "module", "add", "taken", "--from", place)
        said = refused(pair, "a", "prim", "taken", "--timeout", "20s")
        assert taken in said and "another host" in said.lower()
    finally:
        pair.lab.exec("client", ["ip", "addr", "del", f"{taken}/24", "dev", "lan"])
        pair.twofold("a", "stop", "taken", check=False)
        code, said = pair.twofold("a", "module", "remove", "taken", "--yes", check=False)
        assert code == 0, said
    for node in "ab":
        assert "taken" not in modules(pair, node)


def test_a_stale_node_waits_and_prim_on_it_is_refused(pair: Pair) -> None:
    newer = pair.primary()
    stale = other(newer)
    pair.lab.kill(stale)
    pair.cluster.wait("it is alone", lambda: pair.shown(newer) == "ALONE Ready", 20)
    pair.calm()  # rows that only this node has
    pair.twofold(newer, "stop", pair.module)
    pair.lab.start(stale)
    pair.cluster.wait("it waits", lambda: pair.shown(stale).startswith("WAIT"), 30)
    time.sleep(4)  # longer than the heartbeat's time-out: it still waits
    state = pair.cluster.state(stale, pair.module)
    assert state is not None and state["state"] == "WAIT"
    assert newer in state["sentence"], "it says whom it waits for"
    refused(pair, stale, "prim", pair.module)
    pair.twofold(newer, "start", pair.module)
    pair.whole()
    pair.calm()
    pair.nothing_lost()


def test_a_used_token_is_refused(pair: Pair) -> None:
    said = refused(
        pair, "b", "cluster", "join", "10.77.0.1", "--token", "nonsense", "--network",
        "lan=10.77.0.2",
    )  # fmt: skip
    assert said.strip()
    pair.whole()


def test_unknown_module_and_unknown_word(pair: Pair) -> None:
    assert "nosuch" in refused(pair, "a", "start", "nosuch")
    refused(pair, "a", "strat", "demo")
    pair.calm()
