"""The demo application: what it acknowledged is in the database; nonsense gets a sentence."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

APPLICATION = Path(__file__).resolve().parents[3] / "modules/sqlite-demo/scripts/app.py"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[int, Path, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    database = tmp_path / "demo.sqlite"
    argv = [sys.executable, str(APPLICATION), "--database", str(database), "--port", str(port)]
    process = subprocess.Popen(argv)
    deadline = time.monotonic() + 10
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        assert time.monotonic() < deadline, "the application does not answer"
        time.sleep(0.02)
    yield port, database, process
    process.kill()
    process.wait()


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def append(port: int, number: int, text: str) -> int:
    return ask(port, "POST", "/append", json.dumps({"n": number, "text": text}))[0]


def test_acknowledged_rows_survive_a_kill(
    service: tuple[int, Path, subprocess.Popen[bytes]],
) -> None:
    port, database, process = service
    assert [append(port, number, f"row {number}") for number in range(1, 21)] == [200] * 20
    assert append(port, 7, "again") == 200, "asking twice does no harm"
    assert ask(port, "GET", "/count") == (200, {"rows": 20, "highest": 20})
    process.kill()
    process.wait()
    rows = dict(sqlite3.connect(database).execute("SELECT n, text FROM rows").fetchall())
    assert rows == {number: f"row {number}" for number in range(1, 21)}


def test_rows_come_in_order_from_a_number(
    service: tuple[int, Path, subprocess.Popen[bytes]],
) -> None:
    port, _, _ = service
    for number in (3, 1, 2):
        append(port, number, "x")
    _, answer = ask(port, "GET", "/rows?from=2&limit=5")
    assert [row["n"] for row in answer["rows"]] == [2, 3]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"n": "x", "text": ""}', "\x00"])
def test_nonsense_is_refused(service: tuple[int, Path, subprocess.Popen[bytes]], body: str) -> None:
    status, answer = ask(service[0], "POST", "/append", body)
    assert status == 400
    assert "row is" in answer["error"]


def test_it_ends_in_order_when_told(service: tuple[int, Path, subprocess.Popen[bytes]]) -> None:
    _, _, process = service
    process.terminate()
    assert process.wait(timeout=5) == 0
