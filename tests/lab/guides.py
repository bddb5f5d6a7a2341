"""A page of docs, followed word by word on the nodes of a lab.

In a fenced block, a line `a#  command` is what an administrator types on node a; `b#` on b,
`witness#` on the third machine, `client#` on the client, `both#` on a and then on b. A comment
after two spaces is not typed. A command that ends in a backslash goes on in the next line; one with
`<<'END'` takes all lines up to END. `#` alone is the machine that has the lab; `twofold lab` there
is about another lab. What differs from reader to reader is replaced: the addresses, and what an
earlier command printed (`--token ...`, a rescue's name). What only a real server has is done in the
lab's way (`STAND_INS`), or left out (`LEFT_OUT`); all else is typed as it stands, and must end
with 0.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from twofold.lab import hosts
from twofold.lab.cluster import DAEMON, WEB, Cluster, daemon_command, web_command
from twofold.lab.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
TYPED = re.compile(r"^ *(?P<where>a|b|both|witness|client|)# +(?P<command>\S.*)$")
FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"  +#.*$")
TOKEN = re.compile(r"--token (\S+)")
RESCUE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{16}")
HERE = {"/root/": "/var/home/", "/usr/local/bin/": "/var/home/"}  # of the machine, not of a node
ADDRESSES = {"10.0.0.": "10.77.0.", "10.0.1.": "10.77.1."}
LEFT_OUT = ("apt-get ", "systemctl enable")  # the lab's nodes have the machine's programs
FINDERS = ("twofold doctor", "twofold config diff")  # what they find is their exit code
COMMAND_TIMEOUT_S = 150.0


def commands(page: str, heading: str = "") -> list[tuple[str, str]]:
    """(node, command) in the order of the page, or of the section under `heading`."""
    text = (ROOT / page).read_text()
    if heading:
        _, found, rest = text.partition(f"## {heading}\n")
        assert found, f"{page} has no section {heading!r}"
        text = rest.partition("\n## ")[0]
    return [step for block in FENCED.findall(text) for step in _typed(block.splitlines())]


def _typed(lines: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(lines)
    for line in rest:
        found = TYPED.match(line)
        if not found:
            continue
        command = COMMENT.sub("", found["command"])
        while command.endswith("\\"):
            command = command[:-1] + COMMENT.sub("", next(rest)).lstrip()
        if "<<'END'" in command:
            for text in rest:
                command += f"\n{text}"
                if text == "END":
                    break
        for node in "ab" if found["where"] == "both" else [found["where"]]:
            yield node, command


def _end_daemon(lab: Lab, node: str) -> None:
    cluster = Cluster(lab)
    lab.supervise(node, WEB, None)
    lab.supervise(node, DAEMON, None)
    cluster.wait(f"the daemon of {node} has ended", lambda: not _answers(cluster, node), 20.0)


def _begin_daemon(lab: Lab, node: str) -> None:
    cluster = Cluster(lab)
    lab.supervise(node, DAEMON, daemon_command())
    lab.supervise(node, WEB, web_command())
    cluster.wait(f"the daemon of {node} answers", lambda: _answers(cluster, node), 20.0)


def _answers(cluster: Cluster, node: str) -> bool:
    return cluster.ask(node, "cluster_state") is not None


def _restart_daemon(lab: Lab, node: str) -> None:
    _end_daemon(lab, node)
    _begin_daemon(lab, node)


def _reboot(lab: Lab, node: str) -> None:
    lab.power_off(node)
    lab.start(node)
    cluster = Cluster(lab)
    cluster.wait(f"the daemon of {node} answers", lambda: _answers(cluster, node), 30.0)


STAND_INS: Mapping[str, Callable[[Lab, str], None]] = {
    "systemctl restart twofoldd": _restart_daemon,
    "reboot": _reboot,
}


@dataclass
class Reader:
    """Somebody in front of the lab's consoles."""

    lab: Lab
    printed: str = ""
    typed: list[str] = field(default_factory=list[str])

    def type(self, node: str, command: str) -> str:
        for documented, real in {**ADDRESSES, **(HERE if node else {})}.items():
            command = command.replace(documented, real)
        if "--token ..." in command:
            command = command.replace("--token ...", f"--token {TOKEN.findall(self.printed)[-1]}")
        if RESCUE.search(command):
            command = RESCUE.sub(RESCUE.findall(self.printed)[-1], command)
        self.typed.append(f"{node}# {command}")
        if command.startswith(LEFT_OUT):
            return ""
        if command in STAND_INS:
            STAND_INS[command](self.lab, node)
            return ""
        done = self._done(node, ["sh", "-c", command])
        may_fail = command.startswith(FINDERS)
        assert done.returncode == 0 or may_fail, f"{self.typed[-1]}\n{done.stdout}{done.stderr}"
        self.printed += done.stdout
        return done.stdout

    def _done(self, node: str, argv: list[str]) -> subprocess.CompletedProcess[str]:
        if node:
            return self.lab.exec(node, argv, timeout_s=COMMAND_TIMEOUT_S, check=False)
        environment = {**hosts.python_environment(), "TWOFOLD_LAB_NAME": f"{self.lab.name}own"}
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
            env=environment,
        )  # fmt: skip

    def follow(self, page: str, *headings: str) -> None:
        """These sections, in this order; without any the whole page."""
        for heading in headings or ("",):
            steps = commands(page, heading)
            assert steps, f"{page} has nothing to type under {heading!r}"
            for node, command in steps:
                self.type(node, command)

    def has_a_new_server(self, node: str) -> None:
        """Another machine stands where `node` was: nothing of it is left."""
        self.lab.kill(node)
        self.lab.start(node)
        _end_daemon(self.lab, node)
        old = "rm -rf /etc/twofold/* /var/lib/twofold/* /srv/*"
        self.lab.exec(node, ["sh", "-c", old])
        _begin_daemon(self.lab, node)
