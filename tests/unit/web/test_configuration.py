"""Configuration through the API, as a program uses it, on two nodes' real commands."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.daemon.two_configured import TEXT, Node, two_nodes
from tests.unit.web.site import Site, site
from twofold.wire.packed import packed

__all__ = ["two_nodes"]

Two = tuple[Node, Node]
API = "/api/v1"
HERE = f"{API}/config/targets/files"
NEW = {"module": "files", "set": {"address": "10.77.0.100/24"},
       "files": {"module.toml": {"text": TEXT}}}  # fmt: skip


@asynccontextmanager
async def configured(root: Path, nodes: Two) -> AsyncGenerator[tuple[Site, httpx.AsyncClient]]:
    async with site(root) as on, on.client("admin") as client:
        on.daemon.configuration = nodes[0].commands
        yield on, client


async def text_of(client: httpx.AsyncClient) -> tuple[str, str]:
    answer = (await client.get(HERE)).json()
    return str(answer["files"]["module.toml"]["text"]), str(answer["digest"])


def with_text(text: str, base: str, **more: Any) -> dict[str, Any]:
    return {"files": {"module.toml": {"text": text}}, "base": base, **more}


async def test_a_module_is_added_changed_compared_and_taken_back(
    tmp_path: Path, nodes: Two
) -> None:
    async with configured(tmp_path, nodes) as (_, client):
        added = await client.post(f"{API}/modules", json=NEW)
        assert (added.status_code, added.json()["nodes"]) == (201, ["a", "b"]), added.text
        text, base = await text_of(client)
        assert base == added.json()["digest"]
        changed = text.replace("10.77.0.100/24", "10.77.0.101/24")

        looked = await client.post(
            f"{HERE}/check", json={"files": {"module.toml": {"text": changed}}}
        )
        assert looked.json()["problems"] == []
        assert any(e["key"] == "address.0.ip" for e in looked.json()["effects"])

        dry = await client.put(HERE, json=with_text(changed, base, dry_run=True))
        assert (dry.json()["version"], await text_of(client)) == (0, (text, base))

        applied = await client.put(HERE, json=with_text(changed, base, why="a new network"))
        assert applied.status_code == 200, applied.text
        assert "10.77.0.101/24" in (nodes[1].etc / "modules/files/module.toml").read_text()

        history = (await client.get(f"{HERE}/history")).json()["versions"]
        assert [v["why"] for v in history] == ["", "a new network"]
        lines = (await client.post(f"{HERE}/diff", json={"version": 1})).json()["differences"]
        assert "+address" in lines[0]["lines"]

        back = await client.post(f"{HERE}/rollback", json={"version": 1})
        assert back.json()["back_to"] == 1
        assert (await text_of(client)) == (text, base)


async def test_of_two_edits_of_the_same_base_the_second_is_refused(
    tmp_path: Path, nodes: Two
) -> None:
    async with configured(tmp_path, nodes) as (_, client):
        await client.post(f"{API}/modules", json=NEW)
        text, base = await text_of(client)
        one, two = (text.replace("100/24", f"{n}/24") for n in (101, 102))
        assert (await client.put(HERE, json=with_text(one, base))).status_code == 200
        for dry_run in (True, False):
            refused = await client.put(HERE, json=with_text(two, base, dry_run=dry_run))
            assert (refused.status_code, refused.json()["code"]) == (409, "changed_meanwhile")
        assert (await text_of(client))[0] == one
        assert (await client.put(HERE, json=with_text(two, "*"))).status_code == 200
        again = await client.post(f"{API}/modules", json=NEW)
        assert (again.status_code, again.json()["code"]) == (409, "refused")


@pytest.mark.parametrize(
    "wrong, line, column",
    [
        ('[replication]\ndirectories = ["/srv/files"]\n\n  sevrice = 1\n', 4, 3),
        ('[replication]\ndirectories = ["/srv/files"\nx', 3, 1),
        ('[replication]\nport = 9100\ndirectories = ["/srv/nothing"]\n', 3, 16),
    ],
)
async def test_a_wrong_file_is_refused_with_its_place(
    tmp_path: Path, nodes: Two, wrong: str, line: int, column: int
) -> None:
    async with configured(tmp_path, nodes) as (_, client):
        await client.post(f"{API}/modules", json=NEW)
        before = await text_of(client)
        files = {"module.toml": {"text": wrong}}
        looked = await client.post(f"{HERE}/check", json={"files": files})
        assert looked.status_code == 200
        refused = await client.put(HERE, json={"files": files, "base": "*"})
        assert (refused.status_code, refused.json()["code"]) == (422, "config"), refused.text
        for problems in (looked.json()["problems"], refused.json()["problems"]):
            assert (problems[0]["line"], problems[0]["column"]) == (line, column), problems
            assert problems[0]["file"].endswith("module.toml")
        assert await text_of(client) == before


async def test_a_silent_node_refuses_a_change_and_nothing_is_changed(
    tmp_path: Path, nodes: Two
) -> None:
    async with configured(tmp_path, nodes) as (_, client):
        await client.post(f"{API}/modules", json=NEW)
        text, base = await text_of(client)
        nodes[1].up = False
        refused = await client.put(HERE, json=with_text(text.replace("100", "101"), base))
        assert refused.status_code == 409
        assert "nothing was changed" in refused.json()["text"]
        nodes[1].up = True
        assert (await text_of(client)) == (text, base)


async def test_what_is_not_there_is_404(tmp_path: Path, nodes: Two) -> None:
    async with configured(tmp_path, nodes) as (_, client):
        for path in ("nothing", "nothing/history"):
            answer = await client.get(f"{API}/config/targets/{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_there"), answer.text
        await client.post(f"{API}/modules", json=NEW)
        for path in (f"{HERE}?version=9", f"{API}/library/nothing"):
            assert (await client.get(path)).status_code == 404, path
        answer = await client.post(f"{HERE}/diff", json={"node": "z"})
        assert answer.status_code == 404


async def test_the_library_and_a_pack(tmp_path: Path, nodes: Two) -> None:
    async with configured(tmp_path, nodes) as (on, client):
        entry = (await client.get(f"{API}/library/mariadb")).json()
        assert "module.toml" in entry["files"]
        assert {"name", "default", "help"} == entry["variables"][0].keys()
        files = {"module.toml": (0o644, TEXT.encode()), "scripts/start": (0o755, b"\xff\x00")}
        read = (await client.post(f"{API}/packs", content=packed(files))).json()
        assert [v["name"] for v in read["variables"]] == ["address"]
        assert read["files"]["scripts/start"]["executable"]
        added = await client.post(f"{API}/modules", json={**NEW, "files": read["files"]})
        assert added.status_code == 201, added.text
        again = await client.get(f"{API}/modules/files/pack")
        assert again.headers["content-type"] == "application/gzip"
        assert (await client.post(f"{API}/packs", content=again.content)).json()["digest"] == (
            added.json()["digest"]
        )
        assert (await client.post(f"{API}/packs", content=b"\x1f\x8bno")).status_code == 422
        no = await client.request("DELETE", f"{API}/modules/files", json={})
        assert (no.status_code, no.json()["code"]) == (409, "confirm_needed")
        await client.request("DELETE", f"{API}/modules/files", json={"confirm": "files"})
        assert not (nodes[1].etc / "modules/files").exists()
        assert [c for _, c, _ in on.daemon.done] == ["module_add", "module_remove"]


async def test_the_audit_names_what_was_changed(tmp_path: Path, nodes: Two) -> None:
    async with configured(tmp_path, nodes) as (on, client):
        await client.post(f"{API}/modules", json=NEW)
        await client.put(HERE, json={"set": {"address": "10.77.0.9/24"}, "base": "*"})
        await client.put(HERE, json={"base": "no", "dry_run": True})
        await client.get(HERE)
        records = await on.daemon.audit.read(10)
        assert [(r["command"], r["module"], r["result"]) for r in records] == [
            ("module_add", "files", "accepted"),
            ("config_apply", "files", "accepted"),
            ("config_apply (dry run)", "files", "refused"),
        ]
