"""Pages of docs hold when they are followed word by word on a fresh lab.

A page is one row of `STORIES`, and every page of docs/guides has one: a page that nobody follows
says in `NOT_FOLLOWED` why, and in its own text what does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.lab.guides import HERE, ROOT, Reader, commands
from twofold.lab.cluster import Cluster
from twofold.lab.lab import Lab

SIZE_BYTES = 512 << 20
HOME = HERE["/root/"]
WHOLE_AT_MOST_S = 120.0
README, FIRST = "README.md", "The first real cluster"
GUIDES = "docs/guides"
HEALTH = (
    "python3 -c 'import ssl, urllib.request as u; "
    'print(u.urlopen("https://10.0.0.1:9010/health/sqlite-demo", '
    "context=ssl._create_unverified_context(), timeout=5).status)'"
)
CONSOLE = HEALTH.replace("health/sqlite-demo", "login").replace(".status)", ".read().decode())")


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Generator[Reader]:
    """Two nodes with the programs, and nothing else."""
    lab = Lab.make(f"g{os.getpid()}", size_bytes=SIZE_BYTES, witness=request.param == "witness")
    try:
        Cluster(lab).start_daemons()
        for node in ("a", "b"):
            lab.exec(node, ["mkdir", HOME])
        yield Reader(lab)
    finally:
        lab.down()
        Lab.take_down(f"{lab.name}own")


def begin(reader: Reader) -> None:
    """What most pages begin with: the module `demo`, PRIM on a, SECOND on b."""
    reader.follow(f"{GUIDES}/first-cluster.md", "The cluster", "A module", "Start it")


def both_ready(reader: Reader) -> None:
    Cluster(reader.lab).wait_both_ready("demo", 90.0)


# --- the stories ----------------------------------------------------------------------------------


def readme(reader: Reader) -> None:
    assert len(commands(README, FIRST)) < 10
    began_s = time.monotonic()
    reader.follow(README, FIRST)
    reader.type("a", "twofold wait sqlite-demo PRIM --timeout 60s")
    reader.type("b", "twofold wait sqlite-demo SECOND --timeout 60s")
    assert "200" in reader.type("a", HEALTH)
    page = reader.type("b", CONSOLE)
    assert "Twofold" in page and "password" in page.lower(), "the console asks who is there"
    assert time.monotonic() - began_s < WHOLE_AT_MOST_S


def first_cluster(reader: Reader) -> None:
    reader.follow(f"{GUIDES}/first-cluster.md")
    both_ready(reader)


def own_module(reader: Reader) -> None:
    begin(reader)
    reader.follow(f"{GUIDES}/own-module.md")
    assert "hello" in reader.type("b", "curl -s http://10.0.0.110:8090/index.html")


def replace_node(reader: Reader) -> None:
    begin(reader)
    reader.type("a", "echo kept > /srv/demo/kept")
    reader.has_a_new_server("b")
    reader.follow(f"{GUIDES}/replace-node.md")
    both_ready(reader)
    assert "kept" in reader.type("b", "cat /srv/demo/kept")


def backup(reader: Reader) -> None:
    page = f"{GUIDES}/backup.md"
    begin(reader)
    reader.type("a", "twofold module apply demo --set port=8081")
    reader.follow(page, "A change is to be taken back", "Keep it elsewhere")
    assert 'default = "8080"' in reader.type("a", "cat /etc/twofold/modules/demo/module.toml")
    reader.type("a", "mkdir /root/data-of-the-backup && echo kept > /root/data-of-the-backup/kept")
    reader.follow(page, "Only the data is to be restored")
    assert "kept" in reader.type("a", "cat /srv/demo/kept")
    file = f"{HOME}twofold-etc.tar.gz"
    saved = {n: reader.lab.exec(n, ["base64", file]).stdout for n in "ab"}
    assert saved["a"] != saved["b"]
    for node, text in saved.items():
        reader.has_a_new_server(node)
        reader.lab.exec(node, ["sh", "-c", f"base64 -d > {file}"], stdin=text)
    reader.follow(page, "Both servers are lost")
    both_ready(reader)
    assert "kept" in reader.type("b", "cat /srv/demo/kept")


def configuration(reader: Reader) -> None:
    begin(reader)
    reader.follow(f"{GUIDES}/configuration.md")
    both_ready(reader)


def remove(reader: Reader) -> None:
    begin(reader)
    reader.follow(f"{GUIDES}/remove.md", "A module")
    both_ready(reader)
    reader.follow(f"{GUIDES}/remove.md", "A server that works")
    assert "10.77.0.2" not in reader.type("a", "twofold cluster state")


def upgrade(reader: Reader) -> None:
    begin(reader)
    reader.follow(f"{GUIDES}/upgrade.md")
    both_ready(reader)


def witness(reader: Reader) -> None:
    begin(reader)
    page = f"{GUIDES}/witness.md"
    reader.follow(page, "On the third machine")
    command = [str(Path(sys.executable).parent / "twofold"), "witness", "serve"]
    reader.lab.supervise("witness", "witness", command)  # as the unit does
    reader.follow(page, "In the module")
    both_ready(reader)
    state = Cluster(reader.lab).state("a", "demo") or {}
    assert state["arbitration"]["kind"] == "witness" and state["arbitration"]["heard"]


def notifications(reader: Reader) -> None:
    begin(reader)
    reader.follow(f"{GUIDES}/notifications.md")
    assert "test" in reader.type("a", "cat /var/log/pages").lower()


def split_brain(reader: Reader) -> None:
    begin(reader)
    reader.lab.cut("b", ["lan", "flow"], True)
    reader.type("b", "twofold wait demo ALONE")
    reader.type("b", "echo alone > /srv/demo/only-on-b")
    reader.type("a", "echo other > /srv/demo/only-on-a")
    reader.lab.heal("b")
    both_ready(reader)
    reader.follow(f"{GUIDES}/split-brain.md")
    assert "alone" in reader.type("b", "cat /var/tmp/rescued/only-on-b")


def whole(page: str) -> Callable[[Reader], None]:
    """From a running `demo` to a running `demo`."""

    def story(reader: Reader) -> None:
        begin(reader)
        reader.follow(f"{GUIDES}/{page}.md")
        both_ready(reader)

    return story


STORIES: dict[str, Callable[[Reader], None]] = {
    README: readme,
    "install": lambda reader: reader.follow(f"{GUIDES}/install.md"),
    "first-cluster": first_cluster,
    "own-module": own_module,
    "daily": whole("daily"),
    "maintenance": whole("maintenance"),
    "upgrade": upgrade,
    "replace-node": replace_node,
    "backup": backup,
    "addresses": whole("addresses"),
    "users": whole("users"),
    "remove": remove,
    "configuration": configuration,
    "console": whole("console"),
    "snapshot": whole("snapshot"),
    "witness": witness,
    "notifications": notifications,
    "split-brain": split_brain,
    "lab": lambda reader: reader.follow(f"{GUIDES}/lab.md", "By hand"),
}
NOT_FOLLOWED = {
    "k3s": "needs real servers and the network: tests/vm types its commands in guests",
    "k3s-limits": "has nothing to type",
    "shared-backup": "needs three nodes: tests/system/test_three_nodes.py does what it tells",
}


def test_every_guide_is_followed() -> None:
    pages = {p.stem for p in (ROOT / GUIDES).glob("*.md")}
    assert pages | {README} == STORIES.keys() | NOT_FOLLOWED.keys()


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.long
@pytest.mark.timeout(480)
@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")
@pytest.mark.parametrize("bare, page", [(p, p) for p in STORIES], indirect=["bare"], ids=STORIES)
def test_a_page_is_followed_word_by_word(bare: Reader, page: str) -> None:
    STORIES[page](bare)
