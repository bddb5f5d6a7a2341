"""`snapshot`: from two configured nodes, everything helpful and no secret in any byte."""

from __future__ import annotations

import asyncio
import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.two_configured import SET, TEXT, Node, two_nodes
from twofold.daemon.notify_secrets import write_secret
from twofold.daemon.snapshot import Snapshot
from twofold.errors import CommandRefused
from twofold.wire import snapshot as table
from twofold.wire.archive import Archive
from twofold.wire.files import pack
from twofold.wire.lines import LINE_BYTES_MAX, reply

__all__ = ["two_nodes"]
IN_SCRIPT, IN_VARIABLES, TOKEN = "hunter2-of-the-shop", "v4riable-passw0rd", "t0ken-for-mail"
MODULE = f'{TEXT}db_password = "{IN_VARIABLES}"\n'
SCRIPT = f"#!/bin/sh\nexport PGPASSWORD='{IN_SCRIPT}'\nexec run\n"
LOG = f"began\nconnected with {IN_SCRIPT} and {IN_VARIABLES}\nposted to {TOKEN}\nheard {{key}}\n"


def collects(node: Node, run: Path) -> Snapshot:
    async def asked(caller: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await node.commands.handle(caller, body)

    return Snapshot((node.etc, node.var, run), asked)


async def archived(nodes: tuple[Node, Node], root: Path) -> bytes:
    made = io.BytesIO()
    archive = Archive(made, 1.0)
    for node in nodes:
        snapshot = collects(node, root / f"{node.name}-run")
        for item in (await snapshot.handle("root", {}))["items"]:
            answer = await snapshot.handle("root", {"item": item})
            assert len(reply(1, answer)) < LINE_BYTES_MAX
            archive.add(f"{node.name}/{item}", answer)
    archive.close()
    return made.getvalue()


async def planted(nodes: tuple[Node, Node], root: Path) -> list[str]:
    """Secrets of each kind, on both nodes; returns them."""
    files = {"module.toml": (0o644, MODULE.encode()), "scripts/start": (0o755, SCRIPT.encode())}
    await nodes[0].ask("module_add", module="files", files=pack(files), set=SET)
    key = (nodes[0].etc / "pki/heartbeat.key").read_text().strip()
    shutil.copytree(nodes[0].etc / "pki", nodes[1].etc / "pki")
    for node in nodes:
        write_secret(node.etc, "chat", TOKEN)
        run = root / f"{node.name}-run" / "files"
        run.mkdir(parents=True)
        text = LOG.format(key=key) if node is nodes[0] else LOG
        (run / "mirror.log").write_text("x" * 50 + "\n" + text)
    private = [p.read_text().splitlines()[1:-1] for p in nodes[0].etc.glob("pki/n*.key")]
    assert private
    return [IN_SCRIPT, IN_VARIABLES, TOKEN, key, *(line for lines in private for line in lines)]


def test_no_secret_is_in_any_member(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    async def run() -> tuple[list[str], bytes]:
        secrets = await planted(nodes, tmp_path)
        return secrets, await archived(nodes, tmp_path)

    secrets, archive = asyncio.run(run())
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        members = {m.name: m for m in packed.getmembers()}
        texts = {n: (packed.extractfile(m) or io.BytesIO()).read() for n, m in members.items()}
    assert all(m.mode == 0o600 and m.isfile() for m in members.values())
    for name, content in texts.items():
        for secret in secrets:
            assert secret.encode() not in content, f"{name} has the secret {secret}"
    top = "twofold-snapshot"
    for node in ("a", "b"):
        for item in ("config/cluster.toml", "config/node.toml",
                     "config/modules/files/scripts/start",
                     "logs/files/mirror.log", "system/addresses.txt", "twofold/drift.json",
                     "twofold/versions-files.json"):  # fmt: skip
            assert texts[f"{top}/{node}/{item}"]
    assert b"exec run" in texts[f"{top}/a/config/modules/files/scripts/start"]
    assert b"10.77.0.100/24" in texts[f"{top}/a/config/modules/files/module.toml"]
    assert b"began" in texts[f"{top}/a/logs/files/mirror.log"]
    assert b"node.crt" in texts[f"{top}/a/system/certificates.json"]
    removed = texts[f"{top}/REMOVED.txt"].decode()
    for where in (
        "a/config/modules/files/scripts/start: line 2: ",
        "b/logs/files/mirror.log: line 3: ",
    ):
        assert where in removed
    assert not [n for n in members if n.endswith((".key", "notify.toml", "users.json"))]


def test_the_end_of_a_large_log(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    line = "a line of the log\n"
    count = 2 * table.ITEM_BYTES_MAX // len(line)
    (tmp_path / "run/app.log").write_text(line * count + "the last one\n")
    answer = asyncio.run(
        collects(nodes[0], tmp_path / "run").handle("root", {"item": "logs/app.log"})
    )
    assert answer["cut"] and len(answer["text"]) <= table.ITEM_BYTES_MAX
    assert answer["text"].startswith(line) and answer["text"].endswith("the last one\n")


@pytest.mark.parametrize("item", ["pki/heartbeat.key", "../a/pki/node.key", "/etc/shadow", 7, []])
def test_only_the_table_is_answered(nodes: tuple[Node, Node], tmp_path: Path, item: object) -> None:
    with pytest.raises(CommandRefused):
        asyncio.run(collects(nodes[0], tmp_path / "run").handle("root", {"item": item}))


def test_a_link_is_not_followed(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "app.log").symlink_to(nodes[0].etc / "pki/heartbeat.key")
    with pytest.raises(CommandRefused, match="cannot be read"):
        asyncio.run(collects(nodes[0], run).handle("root", {"item": "logs/app.log"}))
