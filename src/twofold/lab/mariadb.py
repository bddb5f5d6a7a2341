"""MariaDB with its data directory in a replicated one, as the K3s module will have it.

Debian's own server, configured as `docs/guides` of the K3s module recommends: every commit on disk,
binding to all addresses so that it can start before the virtual address is there.
"""

from __future__ import annotations

from .lab import Lab

DIRECTORY = "/srv/kine"
PASSWORD = "labonly"
PORT = 3306

_CONFIGURATION = f"""\
[mariadbd]
user = mysql
datadir = {DIRECTORY}/mysql
socket = /run/mysqld/mysqld.sock
pid-file = /run/mysqld/mysqld.pid
bind-address = 0.0.0.0
port = {PORT}
skip-name-resolve = 1
skip-log-bin
max_connections = 400
innodb_flush_log_at_trx_commit = 1
innodb_doublewrite = ON
innodb_file_per_table = ON
innodb_buffer_pool_size = 128M
loose_innodb_snapshot_isolation = OFF
loose_innodb_log_file_mmap = OFF
"""

_ACCOUNTS = f"""\
FLUSH PRIVILEGES;
CREATE DATABASE kine;
CREATE USER 'kine'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON kine.* TO 'kine'@'%';
FLUSH PRIVILEGES;
"""


def command() -> list[str]:
    return ["/usr/sbin/mariadbd", f"--defaults-file={DIRECTORY}/my.cnf"]


def endpoint(address: str) -> str:
    """What kine is given: bounded waits on every read and write."""
    times = "timeout=2s&readTimeout=15s&writeTimeout=15s"
    return f"mysql://kine:{PASSWORD}@tcp({address}:{PORT})/kine?{times}"


def initialise(lab: Lab, node: str) -> None:
    """A new, empty database in the node's bare directory: the data that is there before us."""
    lab.exec(node, ["mkdir", "-p", f"{DIRECTORY}/mysql"])
    lab.exec(node, ["sh", "-c", f"cat > {DIRECTORY}/my.cnf"], stdin=_CONFIGURATION)
    lab.exec(node, ["chown", "-R", "mysql:mysql", DIRECTORY])
    install = [
        "mariadb-install-db",
        f"--defaults-file={DIRECTORY}/my.cnf",
        "--user=mysql",
        "--skip-test-db",
        "--auth-root-authentication-method=socket",
    ]
    lab.exec(node, install, timeout_s=120)
    lab.exec(node, [*command(), "--bootstrap"], stdin=_ACCOUNTS, timeout_s=60)
    # What is only in memory would be gone after the first power cut, as on a real server.
    lab.exec(node, ["sync", "-f", DIRECTORY])
