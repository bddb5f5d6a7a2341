"""Databases: made in a place, started, made to work, killed, and found whole again.

Each commits the numbers 1, 2, 3... one by one from a thread while a test does something to it; what
came back as committed is acknowledged. No option is set that makes a database less careful.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

STARTED_WITHIN_S = 30.0


class Refusal(Exception):
    """The database did not commit."""


class Database:
    """What a test asks of each; `place` is the directory that holds its data."""

    programs: tuple[str, ...] = ()

    def __init__(self, place: Path) -> None:
        self.place = place
        self.process: subprocess.Popen[bytes] | None = None
        # Sockets, process ids and logs: not in the replicated directory.
        self.aside = Path(tempfile.mkdtemp(prefix="twofold-db-", dir="/var/tmp"))
        self.aside.chmod(0o777)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.aside, ignore_errors=True)

    def prepare(self) -> None:
        """Makes the data directory, and the table of numbers."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """In order, as its administrator would."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """At once, with everything it started."""
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def work(self) -> object:
        """A load of its own kind, and what is there afterwards."""
        raise NotImplementedError

    def commit(self, number: int) -> None:
        raise NotImplementedError

    def numbers(self) -> set[int]:
        raise NotImplementedError

    def check(self) -> None:
        """Its own tool finds nothing wrong."""

    @contextmanager
    def writing(self) -> Generator[list[int]]:
        """Commits one number after the other until the block ends or it fails."""
        acknowledged: list[int] = []
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    self.commit(number)
                except Refusal:
                    return
                acknowledged.append(number)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            yield acknowledged
        finally:
            stop.set()
            self.kill()
            thread.join(30)
            assert not thread.is_alive(), "a commit came back neither way"

    def wait_for(self, acknowledged: list[int], count: int) -> None:
        until = time.monotonic() + STARTED_WITHIN_S
        while len(acknowledged) < count:
            assert time.monotonic() < until, f"only {len(acknowledged)} commits"
            time.sleep(0.01)


class Sqlite(Database):
    """Its command for what may be cut off: it maps a file of the mount, and dies with that."""

    programs = ("sqlite3",)

    def _connected(self, mode: str = "wal") -> sqlite3.Connection:
        connection = sqlite3.connect(self.place / "data.sqlite", isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def prepare(self) -> None:
        connection = self._connected()
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT)")
        connection.close()

    def stop(self) -> None:
        pass

    def work(self) -> object:
        for mode in ("delete", "wal", "persist", "truncate"):
            connection = self._connected(mode)
            first = connection.execute("SELECT coalesce(max(n), 0) FROM numbers").fetchone()[0]
            for number in range(first + 1, first + 40):
                connection.execute("INSERT INTO numbers VALUES (?, ?)", (number, "x" * number))
            connection.execute("DELETE FROM numbers WHERE n % 5 = 0")
            connection.execute("VACUUM")
            connection.close()
        file = str(self.place / "data.sqlite")
        questions = (
            "PRAGMA integrity_check; SELECT count(*), sum(n), sum(length(text)) FROM numbers"
        )
        done = subprocess.run(["sqlite3", file, questions], capture_output=True, check=True)
        return done.stdout

    def commit(self, number: int) -> None:
        statement = f"PRAGMA synchronous=FULL; INSERT INTO numbers VALUES ({number}, 'x')"
        command = ["sqlite3", "-bail", str(self.place / "data.sqlite"), statement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise Refusal(done.stderr)

    def numbers(self) -> set[int]:
        connection = self._connected()
        found = {row[0] for row in connection.execute("SELECT n FROM numbers")}
        connection.close()
        return found

    def check(self) -> None:
        connection = self._connected()
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        connection.close()


class Server(Database):
    """A database that is a process of its own, reached by a socket in a directory aside."""

    user = ""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.data = place / "data"

    def as_user(self, *command: str | Path, text: str | None = None) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            user=self.user,
            group=self.user,
            extra_groups=[],
            cwd=self.aside,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise Refusal(f"{command}: {done.stderr}")
        return done.stdout

    def launch(self, *command: str | Path) -> None:
        with (self.aside / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                user=self.user,
                group=self.user,
                extra_groups=[],
                cwd=self.aside,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                self.ask("SELECT 1")
                return
            except Refusal as refusal:
                log_text = (self.aside / "log").read_text()[-3000:]
                assert self.process.poll() is None, log_text
                assert time.monotonic() < until, f"{refusal}\n{log_text}"
                time.sleep(0.1)

    def ask(self, statement: str) -> str:
        raise NotImplementedError

    def commit(self, number: int) -> None:
        self.ask(f"INSERT INTO numbers VALUES ({number})")

    def numbers(self) -> set[int]:
        return {int(line) for line in self.ask("SELECT n FROM numbers").split()}


POSTGRES = Path("/usr/lib/postgresql")


def postgres_program(name: str) -> Path:
    """Debian keeps them below their version, outside the search path."""
    found = sorted(POSTGRES.glob(f"*/bin/{name}"))
    return found[-1] if found else POSTGRES / "bin" / name


class Postgres(Server):
    programs = (str(postgres_program("initdb")), str(postgres_program("pgbench")))
    user = "postgres"

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700)
        shutil.chown(self.data, self.user, self.user)
        self.as_user(postgres_program("initdb"), "-D", self.data, "-A", "trust", "-N")
        self.start()
        self.ask("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        self.stop()

    def start(self) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.launch(
            *(postgres_program("postgres"), "-D", self.data, "-k", self.aside),
            *("-c", "listen_addresses="),
        )

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)  # a fast shutdown
        self.process.wait(30)
        self.process = None

    def ask(self, statement: str) -> str:
        program = postgres_program("psql")
        return self.as_user(program, "-h", self.aside, "-qAtc", statement, "postgres")

    def work(self) -> object:
        pgbench = (postgres_program("pgbench"), "-h", self.aside)
        self.as_user(*pgbench, "-i", "-q", "-s", "1", "postgres")
        self.as_user(*pgbench, "-c", "4", "-j", "2", "-t", "60", "postgres")
        self.ask("VACUUM FULL pgbench_accounts")
        self.ask("CHECKPOINT")
        tables = ("accounts", "branches", "tellers", "history")
        counts = [self.ask(f"SELECT count(*) FROM pgbench_{table}") for table in tables]
        balanced = self.ask(
            "SELECT (SELECT sum(abalance) FROM pgbench_accounts)"
            " = (SELECT sum(delta) FROM pgbench_history)"
        )
        return counts, balanced

    def check(self) -> None:
        self.ask("CREATE EXTENSION IF NOT EXISTS amcheck")
        self.ask("SELECT bt_index_check('numbers_pkey', true)")


class MariaDB(Server):
    programs = ("mariadbd", "mariadb-install-db", "mariadb-check")
    user = "mysql"

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700)
        shutil.chown(self.data, self.user, self.user)
        self.as_user(
            *("mariadb-install-db", "--no-defaults", f"--datadir={self.data}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )
        self.start()
        self.ask("CREATE DATABASE test", "mysql")
        self.ask("CREATE TABLE numbers (n INTEGER PRIMARY KEY) ENGINE=InnoDB")
        self.stop()

    def start(self) -> None:
        self.launch(
            *("/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.data}"),
            *(f"--socket={self.aside}/socket", f"--pid-file={self.aside}/pid"),
            "--skip-networking",
        )

    def ask(self, statement: str, database: str = "") -> str:
        if not database:
            database = "mysql" if statement == "SELECT 1" else "test"
        client = ("mariadb", "--no-defaults", f"--socket={self.aside}/socket", "-u", "root", "-N")
        return self.as_user(*client, "-B", database, text=statement)

    def work(self) -> object:
        statements = ["CREATE TABLE records (n INTEGER PRIMARY KEY, text LONGTEXT) ENGINE=InnoDB;"]
        for number in range(300):
            statements.append(f"INSERT INTO records VALUES ({number}, REPEAT('x', {number * 20}));")
        statements.append("UPDATE records SET text = REPEAT('y', 5000) WHERE n % 3 = 0;")
        statements.append("BEGIN; DELETE FROM records; ROLLBACK;")
        statements.append("DELETE FROM records WHERE n % 7 = 0;")
        statements.append("ALTER TABLE records ADD COLUMN more INT DEFAULT 5, ADD KEY (more);")
        statements.append("OPTIMIZE TABLE records;")
        self.ask("\n".join(statements))
        self.check()
        return self.ask("SELECT count(*), sum(n), sum(length(text)), sum(more) FROM records")

    def check(self) -> None:
        told = self.as_user(
            *("mariadb-check", "--no-defaults", f"--socket={self.aside}/socket", "-u", "root"),
            *("--databases", "test", "--silent"),
        )
        assert not told.strip(), told
