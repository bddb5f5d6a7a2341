"""People are told once, in groups, with bounds; who is away is tried again and given up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from twofold.config.load import NodeConfig, parse_cluster
from twofold.config.render import cluster_toml
from twofold.daemon.journal import Entry
from twofold.daemon.notify_secrets import read_secrets, write_secret
from twofold.daemon.notifying import RETRY_AFTER_S, Notifying
from twofold.errors import ConfigError, NodeUnreachable
from twofold.wire.notification import Happening, message

CLUSTER = """
[cluster]
id = "00000000-0000-4000-8000-000000000000"
[[network]]
name = "lan"
[[node]]
name = "a"
addresses = { lan = "10.0.0.1" }
[[node]]
name = "b"
addresses = { lan = "10.0.0.2" }
"""
SCRIPT = '[[notify]]\nname = "ops"\nkind = "script"\nscript = "/bin/true"\n'


class Clock:
    """Time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for _ in range(5):
            await asyncio.sleep(0)


class Stand:
    """One node's notifications; `fails` is how many sendings are refused first."""

    def __init__(self, etc: Path, name: str, text: str, fails: int = 0) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.notes: list[str] = []
        self.sender = name
        self.other: Stand | None = None
        self.fails = fails
        self.clock = Clock()
        node = NodeConfig(etc, name, parse_cluster(CLUSTER + text))
        self.notifying = Notifying(
            node,
            clock=self.clock,
            sender_of=lambda module: self.sender,
            pass_on=self.pass_on,
            note=lambda sentence, severity, code: self.notes.append(f"{code}: {sentence}"),
            send=self.send,
        )

    async def send(self, job: Mapping[str, Any]) -> str:
        if self.fails:
            self.fails -= 1
            return "it is away"
        self.sent.append(job)
        return ""

    async def pass_on(self, node: str, body: Mapping[str, Any], timeout_s: float) -> Any:
        if self.other is None:
            raise NodeUnreachable(f"{node} is silent")
        data = json.loads(json.dumps(body))
        return await self.other.notifying.peer_notify(self.notifying._node.name, data)  # pyright: ignore[reportPrivateUsage]

    def happen(self, sentence: str, severity: str = "alarm", module: str = "files") -> None:
        self.notifying.hear(Entry(1.0, module, severity, sentence, code="state.alone"))


async def until(holds: Callable[[], bool], *stands: Stand) -> None:
    tasks = [asyncio.create_task(s.notifying.run()) for s in stands]
    try:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_the_title_is_what_became_of_a_service() -> None:
    def seen(module: str, sentence: str, at: float) -> Happening:
        return Happening("a", at, module, "alarm", "", sentence)

    serves = seen("shop", "b is silent, and this copy is current", 1.0)
    network = seen("", "node b is not heard on network lan any more", 2.0)
    assert message("site", [serves, network], 0)["title"] == f"[site] shop: {serves.sentence}"
    assert message("site", [network], 0)["title"] == f"[site] node a: {network.sentence}"


async def test_what_both_nodes_saw_is_one_message(tmp_path: Path) -> None:
    a, b = Stand(tmp_path, "a", SCRIPT), Stand(tmp_path, "b", SCRIPT)
    b.sender, b.other = "a", a
    a.happen("b is lost")
    b.happen("I lost my disk")
    await until(lambda: bool(a.sent), a, b)
    assert (len(a.sent), b.sent) == (1, [])
    text = a.sent[0]["message"]["text"]
    assert "a  files: b is lost" in text and "b  files: I lost my disk" in text


async def test_the_survivor_tells_when_the_other_is_away(tmp_path: Path) -> None:
    b = Stand(tmp_path, "b", SCRIPT)
    b.sender = "a"
    b.happen("a is lost")
    await until(lambda: bool(b.sent), b)
    assert b.sent[0]["message"]["severity"] == "alarm"


async def test_a_target_that_is_away_is_tried_again(tmp_path: Path) -> None:
    a = Stand(tmp_path, "a", SCRIPT, fails=3)
    a.happen("b is lost")
    await until(lambda: bool(a.sent), a)
    assert a.clock.now_s >= sum(RETRY_AFTER_S[:3])


async def test_and_given_up_with_a_note_that_is_not_told(tmp_path: Path) -> None:
    a = Stand(tmp_path, "a", SCRIPT, fails=len(RETRY_AFTER_S) + 1)
    a.happen("b is lost")
    await until(lambda: bool(a.notes), a)
    assert a.notes == [
        "notify.failed: notification ops could not be sent and is given up: it is away"
    ]
    a.notifying.hear(Entry(1.0, "", "alarm", a.notes[0], code="notify.failed"))
    a.happen("news")
    await until(lambda: bool(a.sent), a)
    assert "given up" not in a.sent[0]["message"]["text"]


async def test_a_flood_is_one_message_that_says_how_many(tmp_path: Path) -> None:
    a = Stand(tmp_path, "a", SCRIPT)
    for i in range(600):
        a.happen(f"event {i}")
    await until(lambda: bool(a.sent), a)
    text = a.sent[0]["message"]["text"]
    assert len(a.sent) == 1 and text.count("\n") == 30
    assert "(470 earlier events are not shown" in text and "event 599" in text


async def test_no_more_than_so_many_in_an_hour(tmp_path: Path) -> None:
    a = Stand(tmp_path, "a", SCRIPT + "per_hour = 2\n")
    for i in range(3):
        a.happen(f"event {i}")
        await until(lambda i=i: len(a.sent) > i, a)
    assert a.clock.now_s >= 3600


async def test_only_what_is_wanted(tmp_path: Path) -> None:
    a = Stand(tmp_path, "a", SCRIPT + 'modules = ["files"]\nevents = ["state.*"]\n')
    a.happen("not an alarm", "info")
    a.happen("another module", module="other")
    a.notifying.hear(Entry(1.0, "files", "alarm", "another event", code="module.note"))
    a.happen("wanted")
    await until(lambda: bool(a.sent), a)
    assert [e["sentence"] for e in a.sent[0]["message"]["events"]] == ["wanted"]


def test_secrets_are_roots_alone_and_outside_the_shared_files(tmp_path: Path) -> None:
    write_secret(tmp_path, "ops", 'mailto://u:p"w@x')
    write_secret(tmp_path, "chat", "slack://t")
    write_secret(tmp_path, "chat", "")
    assert read_secrets(tmp_path) == {"ops": 'mailto://u:p"w@x'}
    assert (tmp_path / "notify.toml").stat().st_mode & 0o777 == 0o600


def test_the_section_survives_a_rewrite_of_cluster_toml() -> None:
    text = CLUSTER + SCRIPT + 'severity = "info"\nmodules = ["x"]\nper_hour = 3\ngroup = "1min"\n'
    cluster = parse_cluster(text)
    assert parse_cluster(cluster_toml(cluster)) == cluster
    with pytest.raises(ConfigError, match="kind script and the key script go together"):
        parse_cluster(CLUSTER + '[[notify]]\nname = "x"\nkind = "script"\n')
    with pytest.raises(ConfigError, match="target 'ops' is there twice"):
        parse_cluster(CLUSTER + SCRIPT + SCRIPT)


# --- the process ----------------------------------------------------------------------------------


def run_process(**job: Any) -> tuple[int, str]:
    told: dict[str, Any] = {
        "title": "t",
        "text": 'a "b"\nc',
        "severity": "alarm",
        "cluster": "s",
        "events": [],
    }
    job = {"name": "ops", "url": None, "template": None, "script": None, "message": told, **job}
    done = subprocess.run(
        [sys.executable, "-m", "twofold.notify_process"],
        input=json.dumps(job), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_webhook_gets_json_and_a_script_the_text(tmp_path: Path) -> None:
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(500 if self.path.startswith("/bad") else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        assert run_process(kind="webhook", url=url) == (0, "")
        assert json.loads(got[0])["text"] == 'a "b"\nc'
        mine = '{"msg": "${severity}: ${text}"}'
        assert run_process(kind="webhook", url=url, template=mine)[0] == 0
        assert json.loads(got[1]) == {"msg": 'alarm: a "b"\nc'}
        code, why = run_process(kind="webhook", url=f"{url}/bad?token=hush")
        assert (code, why) == (1, "it answered with status 500")
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
    code, why = run_process(kind="webhook", url=f"{url}/?token=hush")
    assert code == 1 and "hush" not in why
    script = tmp_path / "page"
    script.write_text(
        f'#!/bin/sh\n(echo "$TWOFOLD_SEVERITY $TWOFOLD_TITLE"; cat) > {tmp_path}/out\n'
    )
    script.chmod(0o755)
    assert run_process(kind="script", script=str(script)) == (0, "")
    assert (tmp_path / "out").read_text() == 'alarm t\na "b"\nc'
    assert run_process(kind="script", script="/no/such")[0] == 1
    assert "notify set ops" in run_process(kind="apprise")[1]
    code, why = run_process(kind="apprise", url="nonsense://hush")
    assert (code, why) == (1, "its URL is not one that Apprise knows")
