"""The programs of the system that a kind of checker or service runs, and where Debian has them."""

from __future__ import annotations

PROGRAMS = {
    "mariadb": "mariadb-client",
    "psql": "postgresql-client",
    "systemctl": "systemd",
    "docker": "docker.io docker-compose-v2, or Docker's own packages",
    "podman": "podman podman-compose",
    "virsh": "libvirt-clients",
}

OF_SQL = {"mariadb": "mariadb", "postgresql": "psql"}
