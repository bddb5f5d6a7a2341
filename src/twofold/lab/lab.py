"""Class Lab: everything a person, a test or the torture does to a lab, one method each.

Every change is recorded before it is made (see `record`), every method may be repeated after an
interruption, and `down` ends whatever it finds.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.errors import CommandRefused, MachineError, OperatorError

from . import boot, disks, hosts, network, record, requirements
from .record import HostRecord, LabRecord, ProcessId

NODES = ("a", "b")
MOST_NODES = ("a", "b", "c", "d")
WITNESS = "witness"  # a third machine, where one was asked for
HOSTS = ("switch", "client", *MOST_NODES, WITNESS)
_WITH_DISK = (*MOST_NODES, WITNESS)
GIB = 1 << 30


@dataclass(frozen=True)
class HostStatus:
    host: str
    up: bool
    pid: int | None
    cut: list[str]
    image: str | None
    daemon: bool | None


class Lab:
    def __init__(self, kept: LabRecord) -> None:
        self._record = kept
        self._changing = threading.Lock()

    # ---- finding and making ----------------------------------------------------------------

    @classmethod
    def open(cls, name: str = "lab") -> Lab:
        kept = record.load(name)
        if kept is None:
            there = record.names()
            known = f"There is {', '.join(there)}." if there else "None is up."
            raise CommandRefused(f"There is no lab {name}. {known} Make it: twofold lab up {name}")
        return cls(kept)

    @classmethod
    def make(
        cls,
        name: str = "lab",
        *,
        file_system: str = "ext4",
        size_bytes: int = 4 * GIB,
        directory: Path | None = None,
        share: Sequence[Path] = (),
        witness: bool = False,
        nodes: int = len(NODES),
    ) -> Lab:
        """New nodes and a client, running, without a cluster yet. Complete or not at all."""
        if file_system not in ("ext4", "xfs"):
            raise CommandRefused(f"A lab's disk can be ext4 or xfs, not {file_system!r}.")
        if not len(NODES) <= nodes <= len(MOST_NODES):
            raise CommandRefused(f"A lab has 2 to {len(MOST_NODES)} nodes, not {nodes}.")
        requirements.require(requirements.lab_lacks(file_system))
        with record.locked(name):
            if record.load(name) is not None:
                raise CommandRefused(
                    f"The lab {name} is there already: twofold lab status {name}; "
                    f"to end it: twofold lab down {name}"
                )
            place = (directory or record.DISK_ROOT).resolve() / name
            shared = [str(path.resolve()) for path in share]
            kept = LabRecord(name, file_system, size_bytes, str(place), shared, hosts={})
            kept.run_directory.mkdir(parents=True, exist_ok=True)
            kept.save()
            lab = cls(kept)
            try:
                ruling = (WITNESS,) if witness else ()
                lab._make_hosts(("switch", "client", *MOST_NODES[:nodes], *ruling))
            except BaseException:
                lab._remove()
                raise
            return lab

    def _make_hosts(self, names: Sequence[str]) -> None:
        place = Path(self._record.disk_directory)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for host in names:
            kind = "node" if host in _WITH_DISK else host
            image = place / f"{host}.img" if kind == "node" else None
            self._record.hosts[host] = HostRecord(host, kind, image=str(image) if image else None)
            self._record.save()
            if image is not None:
                disks.make_image(image, self._record.file_system, self._record.size_bytes)
            self._power_on(host)

    # ---- ending ----------------------------------------------------------------------------

    @classmethod
    def take_down(cls, name: str) -> bool:
        """End the lab and remove its disks, whatever state it is in. False: there was nothing."""
        with record.locked(name):
            kept = record.load(name)
            if kept is None:
                strays = hosts.leftover_inits(name)
                for stray in strays:
                    hosts.kill(stray)
                return bool(strays)
            cls(kept)._remove()
            return True

    def down(self) -> None:
        self.take_down(self.name)

    def _remove(self) -> None:
        for host in (*_WITH_DISK, "client", "switch"):
            kept = self._record.hosts.get(host)
            if kept is not None and kept.init is not None:
                if kept.kind == "node" and kept.init.alive():
                    # The disk is thrown away: flushing it first would only cost time.
                    with contextlib.suppress(OSError):
                        hosts.power_cut_disk(kept.init)
                hosts.kill(kept.init)
        for stray in hosts.leftover_inits(self.name):
            hosts.kill(stray)
        for kept in self._record.hosts.values():
            if kept.image is not None and Path(kept.image).exists():
                for device in disks.devices_of(Path(kept.image)):
                    with contextlib.suppress(MachineError):
                        disks.release_with_last_user(device)
                disks.wait_released(Path(kept.image))
        place = Path(self._record.disk_directory)
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.parent.rmdir()
        shutil.rmtree(self._record.run_directory, ignore_errors=True)

    # ---- power -----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def switch_pid(self) -> int:
        return self._init("switch").pid

    def log_path(self, host: str) -> Path:
        return self._record.run_directory / f"{host}.log"

    @contextlib.contextmanager
    def _change(self) -> Generator[None]:
        """Begins with what others have changed, and is the only one at work until its end."""
        with record.locked(self.name), self._changing:
            self._record = self._read()
            yield

    def _refresh(self) -> None:
        """What others have changed; while a thread of this program changes it, that one knows."""
        if self._changing.acquire(blocking=False):
            try:
                self._record = self._read()
            finally:
                self._changing.release()

    def _read(self) -> LabRecord:
        return Lab.open(self.name)._record

    def _power_on(self, host: str) -> None:
        kept = self._record.hosts[host]
        device = disks.attach(Path(kept.image)) if kept.image else None
        try:
            starting = hosts.StartingHost(self._spec(kept, device), self.log_path(host))
            kept.init = starting.process
            kept.powered = True
            self._record.save()
            starting.build()
        finally:
            if device is not None:
                disks.release_with_last_user(device)
        if kept.kind == "switch":
            network.build_switch(starting.process.pid)
        else:
            switch = self._init("switch").pid
            network.connect(self.name, switch, host, starting.process.pid, kept.cut)
        starting.go()

    def _spec(self, kept: HostRecord, device: str | None) -> boot.BootSpec:
        environment = {
            **hosts.python_environment(),
            "TWOFOLD_LAB": self.name,
            "TWOFOLD_NODE": kept.name,
        }
        return boot.BootSpec(
            lab=self.name,
            host=kept.name,
            kind=kept.kind,
            run_directory=str(self._record.run_directory),
            file_system=self._record.file_system,
            device=device,
            mount_options=disks.mount_options(self._record.file_system),
            hosts_file=network.hosts_file(),
            keep=[*hosts.visible_directories(), *self._record.share],
            supervise=self._record.supervised.get(kept.name, {}),
            environment=environment,
        )

    def _node(self, node: str) -> HostRecord:
        if node not in _WITH_DISK or node not in self._record.hosts:
            raise CommandRefused(
                f"The lab's nodes are {', '.join(self.machines)}; there is no node {node!r}."
            )
        return self._record.hosts[node]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of the cluster, without a witness."""
        return tuple(name for name in MOST_NODES if name in self._record.hosts)

    @property
    def machines(self) -> list[str]:
        """The nodes, and the witness where there is one."""
        return [name for name in _WITH_DISK if name in self._record.hosts]

    def _init(self, host: str) -> ProcessId:
        kept = self._record.hosts.get(host)
        if kept is None:
            there = ", ".join(self._record.hosts)
            raise CommandRefused(f"The lab's hosts are {there}; there is no {host!r}.")
        if kept.init is None or not kept.init.alive():
            raise CommandRefused(
                f"Host {host} of the lab is off. Start it: twofold lab start {host}"
            )
        return kept.init

    def kill(self, node: str) -> None:
        """A power cut: cables dead, memory lost, every process ended, in that order."""
        with self._change():
            kept = self._node(node)
            init = self._init(node)
            for port in network.ports_of(node):
                network.unplug(self.switch_pid, node, port.network)
            with contextlib.suppress(FileNotFoundError):
                hosts.power_cut_disk(init)
            hosts.kill(init)
            kept.init = None
            kept.powered = False
            self._record.save()
            assert kept.image is not None
            disks.wait_released(Path(kept.image))

    def power_off(self, node: str) -> None:
        """An orderly shutdown: the modules are handed over, the disk is written out."""
        with self._change():
            kept = self._node(node)
            init = self._init(node)
            if "twofoldd" in self._record.supervised.get(node, {}):
                # As systemd does on a real server: packaging/systemd/twofold-poweroff.service.
                self.exec(node, ["python", "-m", "twofold.cli.poweroff"], check=False)
            hosts.os.kill(init.pid, hosts.signal.SIGTERM)
            hosts.wait_dead(init, 60.0)
            kept.init = None
            kept.powered = False
            self._record.save()
            assert kept.image is not None
            disks.wait_released(Path(kept.image))

    def start(self, node: str) -> None:
        """Power on: the node boots from its disk as the power cut left it."""
        with self._change():
            kept = self._node(node)
            if kept.init is not None and kept.init.alive():
                raise CommandRefused(f"Node {node} is on already.")
            self._remove_stale_ports(node)
            self._power_on(node)

    def _remove_stale_ports(self, node: str) -> None:
        for port in network.ports_of(node):
            # Usually gone with the node; a cable is removed by the kernel a moment after it.
            with contextlib.suppress(MachineError):
                network.remove_port(self.switch_pid, node, port.network)

    # ---- faults ----------------------------------------------------------------------------

    def cut(
        self, node: str, networks: Sequence[str] = network.NETWORKS, silent: bool = False
    ) -> None:
        """Pull the node's cables (`silent`: carrier stays, frames are dropped)."""
        with self._change():
            kept = self._node(node)
            for name in networks:
                if name not in network.NETWORKS:
                    raise CommandRefused(f"The lab's networks are lan and flow, not {name!r}.")
                cabled = name in [port.network for port in network.ports_of(node)]
                if cabled and kept.init is not None and kept.init.alive():
                    act = network.silence if silent else network.unplug
                    act(self.switch_pid, node, name)
                if cabled:
                    kept.cut = sorted({*kept.cut, name})
            self._record.save()

    def heal(self, node: str | None = None) -> None:
        """Plug every pulled cable in again."""
        with self._change():
            for kept in (
                [self._node(node)] if node else [self._node(each) for each in self.machines]
            ):
                for name in kept.cut:
                    if kept.init is not None and kept.init.alive():
                        network.plug(self.switch_pid, kept.name, name)
                kept.cut = []
            self._record.save()

    # ---- looking and running ---------------------------------------------------------------

    def supervise(self, host: str, name: str, argv: Sequence[str] | None) -> None:
        """Keep `argv` running on the host, now and after each start; None: no longer."""
        with self._change():
            wanted = self._record.supervised.setdefault(host, {})
            if argv is None:
                wanted.pop(name, None)
            else:
                wanted[name] = list(argv)
            self._record.save()
            init = self._record.hosts[host].init
            if init is not None and init.alive():
                hosts.tell_supervisor(init, wanted)

    def argv_in(self, host: str, argv: Sequence[str]) -> list[str]:
        return hosts.enter_argv(self._init(host), list(argv))

    def environment(self, host: str) -> dict[str, str]:
        return {**hosts.python_environment(), "TWOFOLD_LAB": self.name, "TWOFOLD_NODE": host}

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        *,
        timeout_s: float = 60.0,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host. With `check`, a failure raises with its last words."""
        try:
            done = subprocess.run(
                self.argv_in(host, argv),
                input=stdin if stdin is not None else "",
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                env={**self.environment(host), **(environment or {})},
            )
        except subprocess.TimeoutExpired:
            raise MachineError(
                f"`{' '.join(argv)}` on {host} did not end within {timeout_s:.0f} s."
            ) from None
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise OperatorError(f"`{' '.join(argv)}` on {host} failed: {said}")
        return done

    def popen(self, host: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command in the host and let it run; the caller ends it."""
        return subprocess.Popen(self.argv_in(host, argv), env=self.environment(host), **options)

    def is_up(self, host: str) -> bool:
        self._refresh()
        init = self._record.hosts[host].init
        return init is not None and init.alive()

    def inside(self, host: str, path: str) -> Path:
        """A path of the host as seen from this machine, through its process 1."""
        return Path(f"/proc/{self._init(host).pid}/root{path}")

    def status(self) -> list[HostStatus]:
        self._refresh()
        found: list[HostStatus] = []
        for host, kept in self._record.hosts.items():
            up = kept.init is not None and kept.init.alive()
            daemon = None
            if host in MOST_NODES:
                daemon = up and "twofoldd" in self._record.supervised.get(host, {})
            pid = kept.init.pid if up and kept.init else None
            found.append(HostStatus(host, up, pid, kept.cut, kept.image, daemon))
        return found
