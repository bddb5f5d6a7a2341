"""This node as the watch on K3s sees it: the daemon's socket, Kubernetes' API, systemd."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twofold.client import Client
from twofold.config.homes import within
from twofold.config.load import NodeConfig, load_module, load_node
from twofold.config.places import Places
from twofold.errors import MachineError, OperatorError, TwofoldError
from twofold.k3s import kubeconfig, quota
from twofold.k3s.follow import Health
from twofold.k3s.kubernetes import KubernetesApi
from twofold.k3s.machine import Machine, ThisMachine
from twofold.k3s.takeover import Duty, Report, Sight, TakeOver, duty

ATTEMPT_BOUND_S = 60.0
LOOK_BOUND_S = 3.0
UNIT = "k3s.service"
DATASTORE_SERVICE, VOLUMES_SERVICE = "datastore", "volumes"  # their names in the module
DATASTORE_PORT = 3306


class Site:
    """The `World` of `follow`."""

    def __init__(
        self,
        module: str,
        places: Places,
        say: Callable[[str], None],
        config: Path = kubeconfig.PATH,
        machine: Machine | None = None,
    ) -> None:
        self._module, self._places, self._config = module, places, config
        self._say = say
        self._machine = machine or ThisMachine()
        self._beside = ThreadPoolExecutor(max_workers=1)
        self._limits: Future[list[str]] | None = None

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def say(self, sentence: str) -> None:
        self._say(sentence)

    def sight(self) -> Sight | None:
        try:
            with Client(self._places, LOOK_BOUND_S) as client:
                answer = client.ask("state", module=self._module)
        except TwofoldError:
            return None
        for each in answer.get("modules", []):
            if each.get("module") == self._module:
                peer: dict[str, Any] = each.get("peer") or {}
                return Sight(str(each["state"]), str(peer.get("node")), bool(peer.get("heard")))
        return None

    def act(self, what: Duty) -> Report | None:
        access = self.access()
        if access is None:
            return None
        with KubernetesApi(access, ATTEMPT_BOUND_S) as api:
            node = self._node()
            module = load_module(self._places.etc, self._module)
            peer = [node.addresses_of(p.name) for p in within(node, module).peers[:1]]
            if what is Duty.WELCOME:
                return TakeOver(api).welcome([*peer, node.addresses_of(node.name)])
            if what is Duty.DECLARE_DEAD and peer:
                return TakeOver(api, self._still_dead).declare_dead(peer[0])
        return Report()

    def access(self) -> kubeconfig.Access | None:
        """None: K3s is not installed, or has never run."""
        try:
            return kubeconfig.parse(self._config.read_text(), str(self._config))
        except FileNotFoundError:
            return None
        except OSError as e:
            raise MachineError(f"{self._config} cannot be read: {e.strerror}") from None

    def _still_dead(self) -> bool:
        """What is not known is not dead: with no answer of the daemon nothing more is done now."""
        sight = self.sight()
        return sight is not None and duty(sight) is Duty.DECLARE_DEAD

    def _node(self) -> NodeConfig:
        node = load_node(self._places.etc)
        if node is None:
            raise OperatorError("this machine is not part of a cluster")
        return node

    def health(self) -> Health | None:
        access = self.access()
        if access is None:
            return None
        with KubernetesApi(access, LOOK_BOUND_S) as api:
            ready = api.ready()
        active = _systemctl("is-active", UNIT).strip() == "active"
        return Health(active, ready or self._datastore(), ready)

    def _datastore(self) -> bool:
        """Whether it answers at its address, as K3s wants to reach it."""
        module = load_module(self._places.etc, self._module).config
        ports = [s.ready.tcp for s in module.services if s.name == DATASTORE_SERVICE and s.ready]
        port = int(ports[0].rpartition(":")[2]) if ports else DATASTORE_PORT
        for address in module.addresses:
            try:
                ip = address.ip.partition("/")[0]
                socket.create_connection((ip, port), LOOK_BOUND_S).close()
                return True
            except OSError:
                continue
        return False

    def limit_volumes(self) -> list[str]:
        done, self._limits = self._limits, None
        if done is not None and not done.done():
            self._limits = done
            return []
        self._limits = self._beside.submit(self.limit_volumes_now)
        return done.result() if done is not None else []

    def limit_volumes_now(self) -> list[str]:
        """What was done, in sentences. Marking what a large volume holds takes minutes."""
        module = load_module(self._places.etc, self._module).config
        of_volumes = [s.environment for s in module.services if s.name == VOLUMES_SERVICE]
        settings = of_volumes[0] if of_volumes else {}
        mount, wanted = settings.get("MOUNT", ""), settings.get("QUOTAS", "on")
        access = self.access()
        if wanted != "on" or access is None or not quota.can_limit(self._machine, mount):
            return []
        server = module.addresses[0].ip.partition("/")[0]
        with KubernetesApi(access, ATTEMPT_BOUND_S) as api:
            volumes = quota.volumes_of(api.items(quota.VOLUMES), server, mount)
        return quota.limit(self._machine, mount, volumes)

    def restart_k3s(self) -> None:
        _systemctl("restart", "--no-block", UNIT)


def _systemctl(*words: str) -> str:
    try:
        return subprocess.run(
            ["systemctl", *words], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
