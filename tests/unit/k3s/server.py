"""A server in memory: files, users, units, and the programs that an installation calls.

The programs do what the real ones leave behind (a package is installed, a unit enabled, a module
added, K3s's installer writes its unit), so that each step's own question can be answered honestly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from twofold.errors import MachineError
from twofold.k3s.machine import Ran
from twofold.k3s.steps_cluster import CLUSTER_FILE, MODULE_FILE, NODE_FILE

Words = Sequence[str]


class Server:
    def __init__(self, address: str = "10.0.0.1", peer_joins: bool = True) -> None:
        self.address = address
        self.files: dict[str, str] = {"/etc/os-release": "ID=debian\n"}
        self.modes: dict[str, int] = {}
        self.owners: dict[str, tuple[int, int]] = {}
        self.users: dict[str, tuple[int, int]] = {}
        self.packages: set[str] = set()
        self.enabled: set[str] = {"mariadb.service", "nfs-server.service"}
        self.active: set[str] = set()
        self.masked: set[str] = set()
        self.commands: list[tuple[Words, str, Mapping[str, str]]] = []
        self.fails: set[str] = set()  # programs that fail now
        self.module = ""
        self.open_ports: set[tuple[str, int]] = set()
        self.time_s = 0.0
        self._peer_joins = peer_joins

    # --- the port -------------------------------------------------------------------------------

    def run(
        self,
        words: Words,
        *,
        bound_s: float = 60.0,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Ran:
        self.commands.append((words, stdin, environment or {}))
        if words[0] in self.fails:
            ran = Ran(1, "", f"{words[0]} has failed")
        else:
            ran = self._do(list(words), environment or {})
        if check and ran.code:
            raise MachineError(f"`{' '.join(words[:4])}` failed: {ran.last}")
        return ran

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self.files[path] = text
        self.modes[path] = mode

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def exists(self, path: str) -> bool:
        return any(name == path or name.startswith(f"{path}/") for name in self.files)

    def owner(self, path: str) -> tuple[int, int] | None:
        return self.owners.get(path)

    def user(self, name: str) -> tuple[int, int] | None:
        return self.users.get(name)

    def listens(self, host: str, port: int) -> bool:
        return (host, port) in self.open_ports

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds
        if self._peer_joins and self.exists(CLUSTER_FILE):
            text = self.files[CLUSTER_FILE]
            if text.count("[[node]]") == 1:
                self.files[CLUSTER_FILE] = text + "[[node]]\n"

    # --- its programs ---------------------------------------------------------------------------

    def _do(self, words: list[str], environment: Mapping[str, str]) -> Ran:
        program = words[0].rpartition("/")[2]
        table: dict[str, Callable[[list[str]], Ran]] = {
            "twofold": self._twofold,
            "systemctl": self._systemctl,
            "dpkg-query": self._query,
            "apt-get": self._apt,
            "useradd": self._note_user,
            "mkdir": self._make_directories,
            "install": self._place,
            "find": self._find,
            "curl": self._fetch,
            "k3s": self._version,
            "getent": self._unknown,
        }
        if program == "sh" and words[-1] == "server":
            return self._k3s_installer(environment)
        if program == "sh" and "uninstall" in words[1]:
            self.remove("/etc/systemd/system/k3s.service")
            return Ran(0, "", "")
        return table.get(program, self._well)(words)

    def _well(self, words: list[str]) -> Ran:
        return Ran(0, "", "")

    def _unknown(self, words: list[str]) -> Ran:
        return Ran(2, "", "")

    def _fetch(self, words: list[str]) -> Ran:
        return Ran(0, "#!/bin/sh\n# installer\n", "")

    def _query(self, words: list[str]) -> Ran:
        return Ran(0, "installed", "") if words[-1] in self.packages else Ran(1, "", "no")

    def _make_directories(self, words: list[str]) -> Ran:
        return self._touch([f"{w}/." for w in words if w.startswith("/")])

    def _place(self, words: list[str]) -> Ran:
        if "-D" in words:
            self.files[words[-1]] = self.files[words[-2]]
        return self._touch([words[-1]])

    def _k3s_installer(self, environment: Mapping[str, str]) -> Ran:
        self.files["/etc/systemd/system/k3s.service"] = "unit"
        self.files["/usr/local/bin/k3s"] = environment["INSTALL_K3S_VERSION"]
        self.files["/usr/local/bin/k3s-uninstall.sh"] = "#!/bin/sh"
        return Ran(0, "", "")

    def _find(self, words: list[str]) -> Ran:
        endings = tuple(w.removeprefix("*") for w in words if w.startswith("*"))
        found = [p for p in self.files if p.startswith(words[1]) and p.endswith(endings)]
        return Ran(0, "\n".join(found), "")

    def _version(self, words: list[str]) -> Ran:
        version = self.files.get("/usr/local/bin/k3s")
        return Ran(0, f"k3s version {version} (abc)\n", "") if version else Ran(127, "", "")

    def _apt(self, words: list[str]) -> Ran:
        self.packages |= {w for w in words[2:] if not w.startswith("-")}
        return Ran(0, "", "")

    def _note_user(self, words: list[str]) -> Ran:
        number = int(words[words.index("--uid") + 1])
        self.users[words[-1]] = (number, number)
        return Ran(0, "", "")

    def _touch(self, paths: list[str]) -> Ran:
        for path in paths:
            self.files.setdefault(path, "")
        return Ran(0, "", "")

    def _systemctl(self, words: list[str]) -> Ran:
        action, units = words[1], [w for w in words[2:] if not w.startswith("-")]
        if action == "is-enabled":
            unit = units[0]
            if unit in self.masked or f"{unit}.service" in self.masked:
                return Ran(1, "masked", "")
            return Ran(0, "enabled" if unit in self.enabled else "disabled", "")
        if action == "is-active":
            return Ran(0, "active" if units[0] in self.active else "inactive", "")
        if action == "enable":
            self.enabled |= set(units)
            self.active |= set(units)
        if action == "disable":
            self.enabled -= set(units)
        if action == "mask":
            self.masked |= set(units)
        return Ran(0, "", "")

    def _twofold(self, words: list[str]) -> Ran:
        said: object = {}
        match words[1:3]:
            case ["cluster", "init" | "join"]:
                nodes = "[[node]]\n" * (2 if words[2] == "join" else 1)
                self.files[CLUSTER_FILE] = nodes
                self.files[NODE_FILE] = 'name = "a"\n'
            case ["cluster", "invite"]:
                said = {"token": "tok-en"}
            case ["cluster", "ping"]:
                self.files[CLUSTER_FILE] += f'\nping = ["{words[3]}"]\n'
            case ["cluster", "state"]:
                ips = ("10.0.0.1", "10.0.0.2")
                members = [{"node": ip, "addresses": {"lan": ip}} for ip in ips]
                here: dict[str, object] = {"node": "a", "members": members}
                said = [here, {"node": "b", "error": "silent"}]
            case ["module", "add"]:
                self.files[MODULE_FILE] = ""
            case ["prim" | "start", _]:
                self.module = "PRIM" if words[1] == "prim" else "SECOND"
                self.files.setdefault("/srv/k3s/secrets/database", "hunter2hunter2")
                self.owners.setdefault("/srv/k3s/mysql", (963, 963))
            case ["state", _]:
                here = {"node": "a", "module": "k3s", "state": self.module, "readiness": "Ready"}
                there = {"node": "b", "module": "k3s", "state": "PRIM", "readiness": "Ready"}
                said = [there, here] if self.module else {"error": {"text": "no module"}}
            case _:
                return Ran(1, "", f"unknown: {words}")
        return Ran(0, json.dumps(said), "")
