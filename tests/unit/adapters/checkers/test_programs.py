"""Probes that run a program: scripts, systemctl, database clients; bounded, never in the way."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.adapters.checkers.probing import checker_of, probe, program
from twofold.adapters.checkers.program import KEPT_BYTES, Program
from twofold.adapters.checkers.sql import command_of
from twofold.config.schema_checkers import Checker
from twofold.errors import ProbeNotMade
from twofold.ports import Verdict

pytestmark = pytest.mark.timeout(30)


def scripts(tmp_path: Path) -> Path:
    return tmp_path / "stand" / "scripts"


async def script(tmp_path: Path, text: str, **keys: Any) -> Verdict:
    checker = checker_of(tmp_path, kind="script", script="check", **keys)
    program(scripts(tmp_path), "check", text)
    return await checker.probe()


async def test_a_script_says_yes_with_its_last_line(tmp_path: Path) -> None:
    verdict = await script(tmp_path, "echo looking; echo queue has 3 jobs")
    assert verdict == Verdict(True, "queue has 3 jobs")
    assert await script(tmp_path, "exit 0") == Verdict(True, "the script check says yes")


async def test_a_script_gets_arguments_and_environment(tmp_path: Path) -> None:
    text = 'echo "$1 $2 $TWOFOLD_MODULE $TWOFOLD_STATE $TWOFOLD_CHECKER $PWD"'
    verdict = await script(tmp_path, text, arguments=["a", "b c"])
    assert verdict.text == f"a b c files PRIM c {scripts(tmp_path)}"


async def test_exit_codes_count(tmp_path: Path) -> None:
    verdict = await script(tmp_path, "echo no room >&2; exit 3")
    assert verdict == Verdict(False, "the script check ended with code 3: no room")


async def test_a_script_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    start_s = time.monotonic()
    text = f"trap '' TERM; echo working; sleep 60 & echo $! > {tmp_path}/child; wait"
    verdict = await script(tmp_path, text, timeout="500ms")
    assert time.monotonic() - start_s < 3
    assert verdict == Verdict(False, "the script check did not end within 0.5 s: working")
    child = int((tmp_path / "child").read_text())
    await asyncio.sleep(0.1)
    assert not alive(child)


def alive(pid: int) -> bool:
    """Not even a zombie's life counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_a_script_leaves_running_holds_up_nobody(tmp_path: Path) -> None:
    start_s = time.monotonic()
    verdict = await script(tmp_path, "sleep 5 & echo done")
    assert verdict == Verdict(True, "done")
    assert time.monotonic() - start_s < 3


async def test_output_without_end_fills_nothing(tmp_path: Path) -> None:
    verdict = await script(tmp_path, "yes word | head -c 30000000; exit 1")
    assert not verdict.ok and verdict.text.endswith(": word")
    answer = await Program(("/bin/sh", "-c", "yes | head -c 1000000")).run(10)
    assert len(answer.text) <= KEPT_BYTES


async def test_a_program_that_is_not_there_says_nothing_about_the_target() -> None:
    with pytest.raises(ProbeNotMade, match="No such file"):
        await Program(("/no/such/program",), plain=True).run(2)


async def test_cancelled_it_leaves_nothing(tmp_path: Path) -> None:
    text = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    running = asyncio.create_task(Program(("/bin/sh", "-c", text)).run(30))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0.1)
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    keys: dict[str, Any] = {"kind": "systemd", "unit": "db"}
    program(tmp_path / "bin", "systemctl", "echo ActiveState=active; echo SubState=running")
    assert await probe(tmp_path, **keys) == Verdict(True, "unit db is active (running)")
    program(tmp_path / "bin", "systemctl", "echo ActiveState=failed; echo SubState=failed")
    assert await probe(tmp_path, **keys) == Verdict(False, "unit db is failed (failed)")
    program(tmp_path / "bin", "systemctl", "exec sleep 60")
    verdict = await probe(tmp_path, **keys, timeout="300ms")
    assert verdict == Verdict(False, "systemd did not answer about db within 0.3 s")


# --- sql ----------------------------------------------------------------------------------------


def sql(**keys: Any) -> tuple[str, ...]:
    given = {"name": "c", "kind": "sql", **keys}
    return command_of(Checker.model_validate(given))


def test_no_password_is_ever_on_a_command_line() -> None:
    for engine in ("mariadb", "postgresql"):
        words = sql(engine=engine, user="u", password_file="/etc/secret", host="10.0.0.1", port=1)
        assert not [w for w in words if "secret" in w or "password=" in w]


def test_a_path_is_a_socket() -> None:
    assert "--socket=/run/db.sock" in sql(engine="mariadb", host="/run/db.sock")
    assert "--host=db" in sql(engine="mariadb", host="db")
    assert "--host=/run/postgresql" in sql(engine="postgresql", host="/run/postgresql")


async def test_the_client_finds_the_password_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    secret = tmp_path / "secret"
    secret.write_text("pass word\n")
    secret.chmod(0o600)
    for engine, name, variable in (
        ("mariadb", "mariadb", "MYSQL_PWD"),
        ("postgresql", "psql", "PGPASSWORD"),
    ):
        program(tmp_path / "bin", name, f'echo "[${variable}]"')
        keys: dict[str, Any] = {"kind": "sql", "engine": engine, "password_file": str(secret)}
        verdict = await probe(tmp_path, **keys, expect="[pass word]")
        assert verdict == Verdict(True, f"{engine} answered '[pass word]'")
    secret.chmod(0o644)
    verdict = await probe(tmp_path, kind="sql", engine="mariadb", password_file=str(secret))
    assert not verdict.ok and "chmod 600" in verdict.text


async def test_sqlite(tmp_path: Path) -> None:
    import sqlite3

    file = tmp_path / "a file?.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE t (n)")
        database.execute("INSERT INTO t VALUES (7)")
    keys: dict[str, Any] = {"kind": "sql", "engine": "sqlite", "database": str(file)}
    assert await probe(tmp_path, **keys) == Verdict(True, "sqlite answered '1'")
    count: dict[str, Any] = {"query": "SELECT n FROM t", "expect": "7"}
    assert await probe(tmp_path, **keys, **count) == Verdict(True, "sqlite answered '7'")
    wrong = await probe(tmp_path, **keys, query="SELECT n FROM t", expect="8")
    assert wrong == Verdict(False, "sqlite answered '7', expected was '8'")
    missing = await probe(tmp_path, **keys, query="SELECT * FROM nowhere")
    assert missing == Verdict(False, "sqlite refused the query: no such table: nowhere")
    nowhere = await probe(tmp_path, kind="sql", engine="sqlite", database="/no/such/file")
    assert not nowhere.ok and "unable to open database file" in nowhere.text
