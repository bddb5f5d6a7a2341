"""A split brain, from the cut to the loser's files in a person's hands."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.system.conftest import Pair
from twofold.lab.cluster import other

pytestmark = [pytest.mark.root, pytest.mark.fuse, pytest.mark.slow, pytest.mark.timeout(180)]

WRITE = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
for number in range(50):
    with (folder / f"only-{sys.argv[2]}-{number}").open("w") as file:
        file.write(f"{sys.argv[2]} acknowledged {number}")
        file.flush()
        os.fsync(file.fileno())
with (folder / "both").open("w") as file:
    file.write(f"the last word of {sys.argv[2]}")
"""
READ = """
import json, pathlib, sys
print(json.dumps({p.name: p.read_text() for p in pathlib.Path(sys.argv[1]).glob("[ob]*")
                  if p.name == "both" or p.name.startswith("only-")}))
"""


def write_alone(pair: Pair, node: str) -> None:
    pair.lab.exec(node, ["python", "-c", WRITE, pair.workload.directory, node])


def rescues(pair: Pair, node: str) -> list[dict[str, Any]]:
    out = pair.twofold(node, "mirror", "rescue", "list", pair.module, "--json")[1]
    found: list[dict[str, Any]] = json.loads(out)["rescues"]
    return found


def test_what_the_loser_acknowledged_alone_is_found_again(pair: Pair) -> None:
    node = pair.primary()
    before = {rescue["id"] for host in "ab" for rescue in rescues(pair, host)}
    event_s = time.monotonic()
    pair.lab.cut(node)
    try:
        pair.outage_s(event_s, lambda: pair.serves(other(node)))
        pair.cluster.wait("both serve", lambda: pair.serves(node), 20)
        for host in "ab":
            write_alone(pair, host)
    finally:
        pair.lab.heal()
    pair.whole()
    loser, winner = other(pair.primary()), pair.primary()
    new = [rescue for rescue in rescues(pair, loser) if rescue["id"] not in before]
    assert [r["id"] for r in rescues(pair, winner) if r["id"] not in before] == []
    assert len(new) == 1 and new[0]["state"] == "complete" and new[0]["reason"] == "diverged"
    assert "mirror rescue list" in pair.twofold(loser, "why", pair.module)[1]
    state = pair.cluster.state(loser, pair.module)
    assert state is not None and "before a resync is kept" in state["sentence"]

    words = ("mirror", "rescue", "extract", pair.module, new[0]["id"])
    refused, told = pair.twofold(loser, *words, "--into", pair.workload.directory, check=False)
    assert refused == 10 and "choose a directory outside" in told
    # From the other node, as a person would from wherever he is.
    pair.twofold(winner, "-H", loser, *words, "--into", "/var/tmp/found")
    out = pair.lab.exec(loser, ["python", "-c", READ, "/var/tmp/found"]).stdout
    wanted = {f"only-{loser}-{n}": f"{loser} acknowledged {n}" for n in range(50)}
    assert json.loads(out) == wanted | {"both": f"the last word of {loser}"}
    pair.calm()
    pair.copies_equal()

    asked, told = pair.twofold(loser, "mirror", "rescue", "delete", pair.module, new[0]["id"],
                               check=False)  # fmt: skip
    assert asked == 130 and "nowhere else" in told
    for rescue in rescues(pair, loser):
        pair.twofold(loser, "mirror", "rescue", "delete", pair.module, rescue["id"], "--yes")
    assert rescues(pair, loser) == []
