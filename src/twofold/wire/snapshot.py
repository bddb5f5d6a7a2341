"""What a snapshot of a node consists of, as data, and its bounds.

The command `snapshot` answers `items` (names); with `item` it answers that one: `text`, `removed`
(one line for each secret that was taken out, without it) and `cut`. One item fits into one frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ITEM_BYTES_MAX = 256 * 1024  # escaped as JSON, still less than a frame
ARCHIVE_BYTES_MAX = 48 << 20
ITEMS_MAX = 1000
PROGRAM_TIMEOUT_S = 8.0
ITEM_TIMEOUT_S = 25.0  # an item waits for the one before it, and a program's end
LIST_TIMEOUT_S = 4.0  # only names: a node that does not say them in time is dead
ROWS = 1000
REMOVED_MAX = 500  # notes of one item
_NAME = re.compile(r"[A-Za-z0-9_@+][A-Za-z0-9_.@+\-]*(/[A-Za-z0-9_@+.][A-Za-z0-9_.@+\-]*)*")


@dataclass(frozen=True)
class Program:
    says: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A command of the daemon; `each_module` is asked once for every module."""

    says: str
    command: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    each_module: bool = False
    target: bool = False  # the module is named `target`


TWOFOLD = "{twofold}"  # stands for this node's own `twofold`
PACKAGES = ("twofold", "python3", "fuse3", "libfuse3-3", "iproute2", "systemd", "openssl", "libc6")

PROGRAMS: Mapping[str, Program] = {
    "system/doctor.json": Program("what `twofold doctor` finds", (TWOFOLD, "doctor", "--json")),
    "system/version.txt": Program("the version of Twofold", (TWOFOLD, "--version")),
    "system/addresses.txt": Program("addresses of the machine", ("ip", "-d", "address")),
    "system/links.txt": Program("counters of the interfaces", ("ip", "-s", "link")),
    "system/routes.txt": Program("routes of the machine", ("ip", "route", "show", "table", "all")),
    "system/neighbours.txt": Program("neighbours on the networks", ("ip", "neigh")),
    "system/disks.txt": Program("space on local file systems", ("df", "-h", "-T", "-l")),
    "system/inodes.txt": Program("inodes on local file systems", ("df", "-i", "-l")),
    "system/kernel.txt": Program("the kernel", ("uname", "-a")),
    "system/packages.txt": Program(
        "versions of Debian's packages",
        ("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *PACKAGES),
    ),
}
FACTS: Mapping[str, str] = {  # files of the kernel
    "system/mounts.txt": "/proc/self/mounts",
    "system/memory.txt": "/proc/meminfo",
    "system/load.txt": "/proc/loadavg",
    "system/uptime.txt": "/proc/uptime",
    "system/os-release.txt": "/usr/lib/os-release",
}
QUESTIONS: Mapping[str, Question] = {
    "twofold/cluster.json": Question("how this node sees the cluster", "cluster_state"),
    "twofold/state.json": Question("the state of each module", "state"),
    "twofold/resources.json": Question("addresses, services and checkers", "resources"),
    "twofold/journal.json": Question("the last events", "log", {"limit": ROWS}),
    "twofold/drift.json": Question("where the nodes' configurations differ", "config_drift"),
    "twofold/cluster-versions.json": Question(
        "versions of cluster.toml", "config_history", {"target": "cluster.toml"}
    ),
    "twofold/why-{}.json": Question(
        "the module's last decisions", "why", {"limit": 100}, each_module=True
    ),
    "twofold/versions-{}.json": Question(
        "versions of the module", "config_history", each_module=True, target=True
    ),
}
PYTHON = "system/python.txt"
CERTIFICATES = "system/certificates.json"
OTHERS: Mapping[str, str] = {
    PYTHON: "the versions of Python and of its libraries",
    CERTIFICATES: "names and dates of the certificates, never a key",
    "config/": "configuration of this node, as it is on its disk",
    "logs/": "the ends of the logs of engines and services",
}


def is_safe(name: object) -> bool:
    """A name that may become a file's in an archive."""
    return (
        isinstance(name, str)
        and len(name) <= 255
        and _NAME.fullmatch(name) is not None
        and ".." not in name.split("/")
    )


def readme() -> str:
    """What each file is: the archive's README.txt."""
    rows = {n: p.says for n, p in PROGRAMS.items()}
    rows |= {n: f"the kernel's or system's {path}" for n, path in FACTS.items()}
    rows |= {n.format("MODULE"): q.says for n, q in QUESTIONS.items()} | dict(OTHERS)
    lines = [f"  {n:34} {says}" for n, says in sorted(rows.items())]
    return "\n".join(
        [
            "A snapshot of a Twofold cluster, for somebody who helps.",
            "",
            "REMOVED.txt lists what was taken out because it is secret, and where.",
            "MISSING.txt lists nodes and files that could not be had, and why; and what was cut.",
            "Each node has a directory of its name. In it:",
            "",
            *lines,
            "",
            "Secrets are known by their form, by the name before them, and by their value where",
            "it is in a file of the node. A password that none of these tells is still there:",
            "look through the files before you give them away.",
            "",
        ]
    )
