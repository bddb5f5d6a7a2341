"""MariaDB with its data directory on the subject: sysbench's read-write transactions.

Debian's defaults, each commit flushed (`innodb_flush_log_at_trx_commit=1`). The tables are filled
once for each subject; the server runs only while it is measured.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

START_LIMIT_S = 60
TABLES = ("--tables=2", "--table-size=20000", "--threads=4")
LOAD = "oltp_read_write"


def run(directory: Path, runtime_s: float) -> float:
    """Transactions per second."""
    data = directory / "mariadb"
    fresh = not data.exists()
    if fresh:
        _said(
            "mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", limit_s=180
        )
    with _server(data) as socket:
        if fresh:
            _said("mariadb", "--no-defaults", f"--socket={socket}", "-e", "CREATE DATABASE sbtest")
            _sysbench(socket, "prepare", limit_s=180)
        told = _sysbench(
            socket, f"--time={max(1, round(runtime_s))}", "run", limit_s=60 + runtime_s
        )
    found = re.search(r"transactions:\s+\d+\s+\(([\d.]+) per sec", told)
    if found is None:
        raise RuntimeError(f"sysbench told no transactions: {told[-500:]}")
    return float(found.group(1))


@contextmanager
def _server(data: Path) -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="twofold-bench-") as aside:
        socket = Path(aside) / "socket"
        log = Path(aside) / "log"
        with log.open("wb") as sink:
            server = subprocess.Popen(
                [
                    *("/usr/sbin/mariadbd", "--no-defaults", "--user=root", "--skip-networking"),
                    *(f"--datadir={data}", f"--socket={socket}", f"--tmpdir={aside}"),
                ],
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
            )
        try:
            _until_it_answers(server, socket, log)
            yield socket
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


def _until_it_answers(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    ping = ("mariadb-admin", "--no-defaults", f"--socket={socket}", "-u", "root", "ping")
    while subprocess.run(ping, capture_output=True, timeout=20, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"MariaDB did not start: {log.read_text()[-1000:]}")
        time.sleep(0.1)


def _sysbench(socket: Path, *words: str, limit_s: float) -> str:
    where = ("--db-driver=mysql", f"--mysql-socket={socket}", "--mysql-user=root")
    return _said("sysbench", LOAD, *where, *TABLES, *words, limit_s=limit_s)


def _said(*command: str, limit_s: float = 60) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
