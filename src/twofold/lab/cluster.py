"""The cluster in the lab, formed and driven by the same commands a person types on real servers.

Commands go through the real CLI on a node. Only looking, which tests do many times a second, asks
the daemon's local socket directly, through the node's own file system.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.errors import MachineError, TwofoldError
from twofold.wire import control, lines, witness

from .lab import WITNESS, Lab
from .network import ports_of

DAEMON = "twofoldd"
WEB = "twofold-web"
WEB_USER = "twofold"
SOCKET = "/run/twofold/twofoldd.sock"
_MAKE_USER = (
    f"getent passwd {WEB_USER} >/dev/null || useradd --system --user-group --no-create-home "
    f"--home-dir /nonexistent --shell /usr/sbin/nologin {WEB_USER}"
)


def daemon_command() -> list[str]:
    return _program("twofoldd", "twofold.daemon")


def web_command() -> list[str]:
    """As systemd starts it: the user `twofold`, and nothing that root may."""
    drop = ["setpriv", "--reuid", WEB_USER, "--regid", WEB_USER, "--clear-groups"]
    if not _may_be_read_by_all(Path(sys.executable)) or not _may_be_read_by_all(Path(__file__)):
        # A checkout in a private directory, such as /root: it may read, and still write nothing.
        drop += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return [*drop, "--no-new-privs", *_program(WEB, "twofold.web")]


def _may_be_read_by_all(path: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in path.resolve().parents)


def _program(name: str, module: str) -> list[str]:
    """The installed program of this Python environment, or its module in a bare checkout."""
    installed = Path(sys.executable).parent / name
    return [str(installed)] if installed.exists() else [sys.executable, "-m", module]


def other(node: str) -> str:
    return "b" if node == "a" else "a"


class Cluster:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.password: str | None = None  # the console's first one, known to who formed the cluster

    def form(self) -> None:
        """Start the daemons, `cluster init` on a, `cluster join` on the others."""
        self.start_daemons()
        nodes = self.lab.nodes
        self.wait("the daemons answer", lambda: all(self._answers(node) for node in nodes), 20.0)
        made = json.loads(self.twofold("a", "cluster", "init", "--json", *_networks("a")).stdout)
        self.password = str(made["console"]["password"])
        # The daemon notices its new configuration within a second, and listens then.
        self.wait("a can be reached by the next node", self._admits, 20.0)
        server = ports_of("a")[0].ipv4
        token = str(made["token"])
        for node in nodes[1:]:
            if node != nodes[1]:
                token = json.loads(self.twofold("a", "cluster", "invite", "--json").stdout)["token"]
            self.twofold(node, "cluster", "join", server, "--token", token, *_networks(node))
            # Each is in before the next asks: who is told of a newcomer must be able to listen.
            self.wait("the nodes hear each other", self._meet, 20.0)

    def start_daemons(self) -> None:
        for node in self.lab.nodes:
            self.lab.exec(node, ["sh", "-c", _MAKE_USER])  # as the package does
            self.lab.supervise(node, DAEMON, daemon_command())
            self.lab.supervise(node, WEB, web_command())

    def add_witness(self, name: str = "w1") -> None:
        """The lab's third machine becomes the cluster's witness, as on real servers."""
        made = json.loads(self.twofold("a", "cluster", "invite", "--json").stdout)
        server, own = ports_of("a")[0].ipv4, ports_of(WITNESS)[0].ipv4
        words = ["witness", "join", server, "--token", made["token"], "--address", own]
        self.twofold(WITNESS, *words, "--name", name)
        command = [*_program("twofold", "twofold"), "witness", "serve"]
        self.lab.supervise(WITNESS, WITNESS, command)
        self.wait("the witness listens", self._witness_listens, 20.0)
        self.wait("the nodes hear each other", self._meet, 20.0)

    def _witness_listens(self) -> bool:
        listening = self.lab.exec(WITNESS, ["cat", "/proc/net/tcp"]).stdout
        return f":{witness.PORT:04X} 00000000:0000 0A" in listening

    def _answers(self, node: str) -> bool:
        return self.ask(node, "cluster_state") is not None

    def _admits(self) -> bool:
        listening = self.lab.exec("a", ["cat", "/proc/net/tcp"]).stdout
        return f":{control.PORT:04X} 00000000:0000 0A" in listening

    def _meet(self) -> bool:
        """Each member reaches the others: the answer for all nodes has them all in it."""
        found = self.ask("a", "cluster_state") or {}
        members = [str(each["node"]) for each in found.get("members", [])]
        for node in members:
            answer = self.ask(node, "state", nodes=["*"]) or {}
            reached = [each for each in answer.get("answers", []) if each.get("reachable")]
            if len(reached) != len(members):
                return False
        return len(members) > 1

    def console_lines(self) -> list[str]:
        """How to see it in a browser: the lab's network is not this machine's."""
        url = f"https://{ports_of('a')[0].ipv4}:9010"
        named = "" if self.lab.name == "lab" else f" --name {self.lab.name}"
        return [
            f"Console: {url}  user admin, password {self.password}",
            f"In a browser of this machine: twofold lab console{named}",
        ]

    # ---- commands --------------------------------------------------------------------------

    def twofold(
        self, node: str, *words: str, timeout_s: float = 90.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command of the product on a node."""
        program = _program("twofold", "twofold")
        return self.lab.exec(node, [*program, *words], timeout_s=timeout_s, check=check)

    # ---- looking ---------------------------------------------------------------------------

    def ask(
        self, node: str, command: str, timeout_s: float = 5.0, **fields: Any
    ) -> dict[str, Any] | None:
        """The daemon's own answer; None while the node or its daemon does not answer."""
        try:
            path = self.lab.inside(node, SOCKET)
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(timeout_s)
                link.connect(str(path))
                link.sendall(lines.request(1, {"command": command, **fields}))
                with link.makefile("rb") as answer:
                    return lines.decode_reply(answer.readline(), 1)
        except (OSError, TwofoldError):
            return None

    def state(self, node: str, module: str) -> dict[str, Any] | None:
        """This node's object for a module, as in docs/internals/interfaces.md."""
        if not self.lab.is_up(node):
            return None
        answer = self.ask(node, "state", module=module)
        modules: list[dict[str, Any]] = (answer or {}).get("modules", [])
        return next((each for each in modules if each.get("module") == module), None)

    def shown(self, node: str, module: str) -> str:
        """`PRIM Ready`, or `off`, or `no answer`."""
        if not self.lab.is_up(node):
            return "off"
        found = self.state(node, module)
        return f"{found['state']} {found['readiness']}" if found else "no answer"

    def primary(self, module: str) -> str | None:
        """The node that serves; None while none does, or both claim to."""
        nodes = self.lab.nodes
        serving = [node for node in nodes if _is(self.state(node, module), "PRIM", "ALONE")]
        return serving[0] if len(serving) == 1 else None

    def is_ready(self, node: str, module: str) -> bool:
        return (self.state(node, module) or {}).get("readiness") == "Ready"

    def both_ready(self, module: str) -> bool:
        """One serves, the other has everything."""
        every = (self.state(node, module) for node in self.lab.nodes)
        found = [each for each in every if each is not None]
        states = sorted(str(each.get("state")) for each in found)
        return states == ["PRIM", "SECOND"] and all(
            each.get("readiness") == "Ready" for each in found
        )

    def wait_both_ready(self, module: str, timeout_s: float = 120.0) -> float:
        """Seconds it took until one node is PRIM and the other SECOND, both Ready."""
        started = time.monotonic()
        self.wait(
            f"{module} is PRIM and SECOND, both Ready",
            lambda: self.both_ready(module),
            timeout_s,
            lambda: "; ".join(f"{node} is {self.shown(node, module)}" for node in self.lab.nodes),
        )
        return time.monotonic() - started

    def wait(
        self,
        what: str,
        holds: Callable[[], bool],
        timeout_s: float,
        instead: Callable[[], str] = lambda: "",
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                found = instead()
                raise MachineError(
                    f"After {timeout_s:.0f} s it is still not so that {what}"
                    + (f": {found}." if found else ".")
                    + f" Look: twofold lab exec a -- twofold log; {self.lab.log_path('a').parent}"
                )
            time.sleep(0.05)


def _is(found: dict[str, Any] | None, *states: str) -> bool:
    return found is not None and found.get("state") in states


def _networks(node: str) -> list[str]:
    words: list[str] = []
    for port in ports_of(node):
        words += ["--network", f"{port.network}={port.ipv4}"]
    return words
