"""The module's datastore, a real MariaDB: set up by itself, open to the nodes alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

import twofold

SCRIPT = Path(twofold.__file__).parent / "library/k3s/scripts/datastore"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("mariadbd") is None, reason="needs mariadb-server"),
]


def free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


@pytest.fixture
def directory() -> Generator[Path]:
    place = Path(tempfile.mkdtemp(prefix="twofold-k3s-", dir="/var/tmp"))
    place.chmod(0o755)  # as /srv/k3s: MariaDB gives up root before it opens its files
    yield place
    shutil.rmtree(place)


@contextmanager
def running(directory: Path, clients: str) -> Generator[tuple[Path, int]]:
    """The script in its own mounts, so that its /run/mysqld is nobody else's."""
    port, run = free_port(), directory / "run"
    run.mkdir(exist_ok=True)
    run.chmod(0o755)
    alone = 'mount --bind "$1" /run; shift; exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", alone, "sh", str(run), str(SCRIPT)]
    words += [str(directory), str(port), clients, "--bind-address=127.0.0.1"]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not (run / "mysqld/mysqld.sock").exists() or not _accepts(port):
            assert process.poll() is None, (directory / "log").read_text()[-2000:]
            assert time.monotonic() < until, (directory / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield run / "mysqld/mysqld.sock", port
    finally:
        process.terminate()
        process.wait(30)


def _accepts(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


def sql(at: Path, statement: str) -> list[str]:
    command = ["mariadb", "--no-defaults", "--batch", "--skip-column-names", "--socket", str(at)]
    done = subprocess.run(
        [*command, "--execute", statement], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def as_k3s(port: int, password: str) -> subprocess.CompletedProcess[str]:
    command = ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={port}"]
    environment = {**os.environ, "MYSQL_PWD": password}
    return subprocess.run(
        [*command, "--user=k3s", "--execute", "CREATE TABLE IF NOT EXISTS k3s.t (n INT)"],
        env=environment, capture_output=True, text=True, timeout=20,
    )  # fmt: skip


def test_set_up_once_and_open_to_the_nodes_alone(directory: Path) -> None:
    secret = directory / "secrets/database"
    with running(directory, "10.0.0.1 10.0.0.2 10.0.0.100") as (at, port):
        password = secret.read_text()
        assert len(password) == 40 and password.isalnum()
        assert secret.stat().st_mode & 0o777 == 0o600
        assert secret.parent.stat().st_mode & 0o777 == 0o700
        hosts = sql(at, "SELECT Host FROM mysql.global_priv WHERE User = 'k3s' ORDER BY Host")
        assert hosts == ["10.0.0.1", "10.0.0.100", "10.0.0.2", "127.0.0.1"]
        assert sql(at, "SELECT COUNT(*) FROM mysql.global_priv WHERE Host = '%'") == ["0"]
        grants = "\n".join(sql(at, "SHOW GRANTS FOR 'k3s'@'10.0.0.1'"))
        assert "ALL PRIVILEGES ON `k3s`.*" in grants
        assert "GRANT OPTION" not in grants
        assert as_k3s(port, password).returncode == 0
        assert "Access denied" in as_k3s(port, "guessed").stderr
        settings = sql(
            at,
            "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@log_bin,"
            " @@max_connections, @@innodb_snapshot_isolation",
        )
        assert settings == ["1\t1\t0\t400\t0"]
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [c for c in commands if password.encode() in c]
    with running(directory, "10.0.0.1 10.0.0.7 10.0.0.100") as (at, port):
        assert secret.read_text() == password
        assert as_k3s(port, password).returncode == 0
        assert sql(at, "SHOW TABLES IN k3s") == ["t"]
        hosts = sql(at, "SELECT Host FROM mysql.global_priv WHERE User = 'k3s' ORDER BY Host")
        assert "10.0.0.2" not in hosts, "a node that left has no account any more"
        assert "10.0.0.7" in hosts


_CUT_OFF = """\
#!/bin/sh
# Half a set-up, and then the end of its machine.
for word; do case $word in --datadir=*) data=${word#*=} ;; esac; done
mkdir "$data/mysql"
truncate --size 1M "$data/ibdata1"
echo "$data" >"$BEGUN"
kill -KILL $PPID
"""


def test_a_set_up_that_was_cut_off_is_begun_again(directory: Path) -> None:
    """Half a datastore has the directories of a whole one; taken for one, it never starts."""
    programs = directory / "programs"
    programs.mkdir()
    (programs / "mariadb-install-db").write_text(_CUT_OFF)
    (programs / "mariadb-install-db").chmod(0o755)
    begun = directory / "begun"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "BEGUN": str(begun)}
    words = ["unshare", "--mount", str(SCRIPT), str(directory), "1", "10.0.0.1", ""]
    subprocess.run(words, env=environment, capture_output=True, timeout=30)
    assert begun.exists()
    with running(directory, "10.0.0.1") as (at, port):
        assert as_k3s(port, (directory / "secrets/database").read_text()).returncode == 0
        assert sql(at, "SHOW DATABASES LIKE 'k3s'") == ["k3s"]
    assert not list(directory.glob("mysql.new"))
    assert not Path(begun.read_text().strip()).exists(), "what was left is taken away"
