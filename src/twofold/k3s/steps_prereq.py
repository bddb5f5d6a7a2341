"""What both nodes need before anything else, as steps; and what only a person can mend, as checks.

Checks change nothing and are all told at once, each with its mend. One that is `hard` ends the
installation; the others are advice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from twofold.k3s import texts
from twofold.k3s.machine import Machine
from twofold.k3s.settings import MYSQL_ID, OFF_AT_BOOT, PACKAGES
from twofold.k3s.step import Step, StepFailed

MEMORY_MIB, DISK_MIB = 1900, 8192
INSTALL_BOUND_S = 1200.0
_APT = {"DEBIAN_FRONTEND": "noninteractive"}


@dataclass(frozen=True)
class Facts:
    """This machine, read once."""

    system: str  # PRETTY_NAME of os-release
    debian: bool
    systemd: bool
    memory_mib: int
    free_mib: int
    clock_synchronised: bool
    default_route: bool
    busy_ports: tuple[int, ...]
    firewall: bool
    mysql_ids: tuple[int, int] | None
    host: str


@dataclass(frozen=True)
class Check:
    name: str
    met: Callable[[Facts], bool]
    found: Callable[[Facts], str]
    mend: str
    hard: bool = True


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    hard: bool
    found: str
    mend: str


CHECKS: tuple[Check, ...] = (
    Check(
        "Debian or Ubuntu",
        lambda f: f.debian,
        lambda f: f.system,
        "The packages are named for these; on another system install them by hand and use the "
        "module k3s of the library.",
    ),
    Check("systemd", lambda f: f.systemd, lambda f: "runs" if f.systemd else "does not run",
          "K3s and the NFS server are run by it."),
    Check("memory", lambda f: f.memory_mib >= MEMORY_MIB, lambda f: f"{f.memory_mib} MiB",
          "A K3s server with MariaDB needs 2 GiB, and what your pods need."),
    Check("free disk space", lambda f: f.free_mib >= DISK_MIB, lambda f: f"{f.free_mib} MiB",
          f"{DISK_MIB} MiB are needed for K3s's images, and the volumes on top of it."),
    Check("host name", lambda f: re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", f.host) is not None
          and f.host != "localhost", lambda f: f.host,
          "Kubernetes wants small letters, digits and -; and one of its own on each node."),
    Check("default route", lambda f: f.default_route,
          lambda f: "there is one" if f.default_route else "there is none",
          "K3s does not start without one; also a dead end will do: ip route add default via ..."),
    Check("free ports", lambda f: not f.busy_ports,
          lambda f: ", ".join(map(str, f.busy_ports)) + " in use" if f.busy_ports else "free",
          "End what listens there: ss -ltnp. K3s needs 6443 and 10250, the datastore 3306."),
    Check("clock", lambda f: f.clock_synchronised,
          lambda f: "synchronised" if f.clock_synchronised else "not synchronised",
          "Certificates need it: apt-get install chrony, or timedatectl set-ntp true.", hard=False),
    Check("firewall", lambda f: not f.firewall,
          lambda f: "active" if f.firewall else "none that is known",
          "Let the nodes reach each other, and 10.42.0.0/16 and 10.43.0.0/16 in; the guide has the "
          "list of ports.", hard=False),
)  # fmt: skip


def judge(facts: Facts) -> list[Finding]:
    return [Finding(c.name, c.met(facts), c.hard, c.found(facts), c.mend) for c in CHECKS]


def probe(machine: Machine, directory: str) -> Facts:
    """Reads; changes nothing."""
    release = machine.read("/etc/os-release") or ""
    named = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    family = f"{named.get('ID', '')} {named.get('ID_LIKE', '')}"
    memory = re.search(r"MemTotal:\s+(\d+) kB", machine.read("/proc/meminfo") or "")
    where = directory
    while where != "/" and not machine.exists(where):
        where = where.rpartition("/")[0] or "/"
    free = machine.run(["df", "--output=avail", "--block-size=1M", where], check=False).out.split()
    clock = machine.run(
        ["timedatectl", "show", "--property=NTPSynchronized", "--value"], check=False
    )
    ours = machine.exists(texts.BINARY) or machine.exists("/etc/twofold/modules/k3s")
    ufw = machine.run(["systemctl", "is-active", "ufw", "firewalld"], check=False).out.split()
    return Facts(
        system=named.get("PRETTY_NAME", "an unknown system").strip('"'),
        debian="debian" in family,
        systemd=machine.exists("/run/systemd/system"),
        memory_mib=int(memory[1]) // 1024 if memory else 0,
        free_mib=int(free[-1]) if free and free[-1].isdigit() else 0,
        clock_synchronised=clock.out.strip() == "yes",
        default_route=_routed(machine.read("/proc/net/route") or ""),
        # What K3s and the datastore of an earlier run listen on is no obstacle.
        busy_ports=() if ours else tuple(p for p in (3306, 6443, 10250) if _busy(machine, p)),
        firewall="active" in ufw,
        mysql_ids=machine.user("mysql"),
        host=(machine.read("/proc/sys/kernel/hostname") or "").strip(),
    )


def _busy(machine: Machine, port: int) -> bool:
    # MariaDB's own package starts it; a step turns that off.
    mine = (
        port == 3306
        and "active" in machine.run(["systemctl", "is-active", "mariadb"], check=False).out.split()
    )
    return not mine and machine.listens("127.0.0.1", port)


def _routed(table: str) -> bool:
    rows = [line.split() for line in table.splitlines()[1:]]
    return any(len(row) > 7 and row[1] == row[7] == "00000000" for row in rows)


def steps(directory: str, mount: str, airgap: str | None) -> tuple[Step, ...]:
    return (
        Step(
            "mysql-user",
            f"the user mysql (number {MYSQL_ID} where it is new: replicated files carry numbers)",
            lambda m: m.user("mysql") is not None,
            _make_mysql,
        ),
        Step(
            "packages",
            f"the packages {' '.join(PACKAGES)}",
            lambda m: all(_installed(m, package) for package in PACKAGES),
            lambda m: _install(m, airgap),
        ),
        Step(
            "off-at-boot",
            "MariaDB and the NFS server do not start by themselves; version 3's locks are off",
            lambda m: all(_is_off(m, unit) for unit in OFF_AT_BOOT) and _masked(m, "rpc-statd"),
            _turn_off,
        ),
        Step(
            "local-io",
            "no short cut around the NFS server on newer kernels",
            lambda m: m.read(texts.LOCALIO) == texts.LOCALIO_TEXT,
            lambda m: m.write(texts.LOCALIO, texts.LOCALIO_TEXT),
            lambda m: m.remove(texts.LOCALIO),
        ),
        Step(
            "directories",
            f"{directory} (replicated) and {mount} (where the volumes are mounted)",
            lambda m: m.exists(directory) and m.exists(mount),
            lambda m: (m.run(["mkdir", "-p", directory, mount]), None)[1],
        ),
        Step(
            "daemon",
            "twofoldd runs, also after a boot",
            lambda m: _enabled(m, "twofoldd") and _active(m, "twofoldd"),
            lambda m: (m.run(["systemctl", "enable", "--now", "twofoldd"]), None)[1],
        ),
    )


def _make_mysql(machine: Machine) -> None:
    number = str(MYSQL_ID)
    for kind in ("passwd", "group"):
        taken = machine.run(["getent", kind, number], check=False).out.strip()
        if taken and not taken.startswith("mysql:"):
            raise StepFailed(
                f"the number {number} belongs to {taken.split(':')[0]} on this node",
                "Make mysql by hand with a number that is free on both: "
                "groupadd --system --gid N mysql; useradd --system --uid N --gid N mysql",
            )
    machine.run(["groupadd", "--system", "--force", "--gid", number, "mysql"])
    home = ["--home-dir", "/nonexistent", "--no-create-home", "--shell", "/bin/false"]
    machine.run(["useradd", "--system", "--uid", number, "--gid", number, *home, "mysql"])


def _installed(machine: Machine, package: str) -> bool:
    words = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return machine.run(words, check=False).out.strip() == "installed"


def _install(machine: Machine, airgap: str | None) -> None:
    missing = [p for p in PACKAGES if not _installed(machine, p)]
    words = ["apt-get", "install", "--yes", "--no-install-recommends"]
    if airgap is not None and machine.exists(f"{airgap}/packages"):
        found = machine.run(["find", f"{airgap}/packages", "-name", "*.deb"]).out.split()
        machine.run([*words, *found], bound_s=INSTALL_BOUND_S, environment=_APT)
        return
    try:
        machine.run([*words, *missing], bound_s=INSTALL_BOUND_S, environment=_APT)
    except StepFailed:
        raise
    except Exception as error:
        raise StepFailed(
            f"apt-get could not install {' '.join(missing)}: {error}",
            "Run apt-get update and try again; without network put the .deb files of these and "
            "what they need into DIR/packages and say --airgap DIR.",
        ) from None


def _turn_off(machine: Machine) -> None:
    machine.run(["systemctl", "disable", "--now", *OFF_AT_BOOT], bound_s=120)
    machine.run(["systemctl", "mask", "rpc-statd.service"], check=False)


def _is_off(machine: Machine, unit: str) -> bool:
    """Off at boot. That it runs now is right where the module serves."""
    return not _enabled(machine, unit)


def _enabled(machine: Machine, unit: str) -> bool:
    return machine.run(["systemctl", "is-enabled", unit], check=False).out.strip() == "enabled"


def _active(machine: Machine, unit: str) -> bool:
    return machine.run(["systemctl", "is-active", unit], check=False).out.strip() == "active"


def _masked(machine: Machine, unit: str) -> bool:
    said = machine.run(["systemctl", "is-enabled", unit], check=False).out.strip()
    return said in ("masked", "not-found", "")
