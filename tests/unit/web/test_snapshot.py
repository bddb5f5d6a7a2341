"""The snapshot through the API: whole, with its gaps named, audited, one at a time."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.unit.web.site import site
from twofold.web.collecting import collected
from twofold.web.sessions import Who

ROUTE = "/api/v1/snapshot"
TOP = "twofold-snapshot"


def members(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {m.name: archive.extractfile(m) for m in archive}
        return {n: f.read().decode() for n, f in files.items() if f is not None}


async def test_an_administrator_has_it_from_all_nodes_and_it_is_in_the_audit(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as on, on.client("admin") as client:
        answer = await client.get(ROUTE)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/gzip"
        assert 'filename="twofold-snapshot-' in answer.headers["content-disposition"]
        found = members(answer.content)
        assert set(found) == {f"{TOP}/{n}" for n in (
            "README.txt", "REMOVED.txt", "MISSING.txt", "a/system/load.txt",
            "a/config/cluster.toml", "b/system/load.txt", "b/config/cluster.toml",
        )}  # fmt: skip
        assert "b/system/load.txt: line 1: a token\n" in found[f"{TOP}/REMOVED.txt"]
        assert found[f"{TOP}/MISSING.txt"] == "Nothing.\n"
        noted = [r for r in await on.daemon.audit.read(100) if r["command"] == "snapshot"]
        assert [(r["who"], r["nodes"], r["result"]) for r in noted] == [
            ("admin", "a, b", "accepted")
        ]


async def test_of_one_node_and_of_none_that_is_not_there(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("admin") as client:
        found = members((await client.get(f"{ROUTE}?node=b&node=b")).content)
        assert f"{TOP}/b/system/load.txt" in found and f"{TOP}/a/system/load.txt" not in found
        answer = await client.get(f"{ROUTE}?node=x")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_there")


async def test_a_silent_node_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("admin") as client:
        on.daemon.silent.add("b")
        found = members((await client.get(ROUTE)).content)
        assert "node b: node b did not answer" in found[f"{TOP}/MISSING.txt"]
        assert f"{TOP}/a/config/cluster.toml" in found


async def test_one_at_a_time_and_whoever_goes_away_frees_it(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("admin") as client:
        who = Who("admin", "admin", "10.9.9.9", "session")
        begun = collected(on.services, who, ["a"])
        await anext(begun)
        answer = await client.get(ROUTE)
        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        await begun.aclose()
        assert (await client.get(ROUTE)).status_code == 200
