"""Process 1 of a host in the lab: reaps, starts what is to run, starts it again when it ends.

Started by `hosts.start` as `python -m twofold.lab.init --lab NAME --host HOST`, with a `BootSpec`
on standard input. Conversation, line by line: we say `ready PID` when the namespaces exist, are
told `build` when that is on record, say `built` when the mounts are made, are told `go` when the
cables are in, say `up` when everything runs. From then on nobody talks to us: the lab's command may
end, we stay. If it ends earlier, we end, and with us everything.

Signals (from outside only): HUP reads `supervise.json` again, TERM is an orderly power-off.
When this process is killed the kernel ends every process of the host: that is the power cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from . import boot, kernel

SUPERVISE_FILE = Path("/run/twofold-lab/supervise.json")
RESTART_AFTER_S = 0.5
POWER_OFF_WITHIN_S = 20.0
_SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM}


def main() -> None:
    spec = boot.BootSpec(**json.loads(sys.stdin.readline()))
    flags = kernel.CLONE_NEWNET | kernel.CLONE_NEWNS
    if spec.kind != "switch":
        flags |= kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC
    kernel.unshare(flags | kernel.CLONE_NEWPID)
    child = os.fork()
    if child:
        print(f"ready {child}", flush=True)
        os._exit(0)
    if sys.stdin.readline().strip() != "build":
        return
    boot.build(spec)
    print("built", flush=True)
    if sys.stdin.readline().strip() != "go":
        return
    kernel.set_process_name(f"lab-{spec.lab}-{spec.host}")
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    supervisor = Supervisor(spec)
    supervisor.begin()
    print("up", flush=True)
    _let_go_of_the_starter()
    supervisor.run()


def _let_go_of_the_starter() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


class Supervisor:
    """Keeps every command of `wanted` running: one process each, started again after it ended."""

    def __init__(self, spec: boot.BootSpec) -> None:
        self._spec = spec
        self._wanted: dict[str, list[str]] = {}
        self._running: dict[int, str] = {}
        self._due: dict[str, float] = {}
        self._ending = False

    def begin(self) -> None:
        if self._spec.kind == "switch":
            return
        SUPERVISE_FILE.write_text(json.dumps(self._spec.supervise))
        self._read_wanted()
        self._start_due()

    def run(self) -> None:
        while not (self._ending and not self._running):
            told = signal.sigtimedwait(_SIGNALS, self._wait_s())
            if told is not None and told.si_signo == signal.SIGHUP:
                self._read_wanted()
            elif told is not None and told.si_signo == signal.SIGTERM:
                self._power_off()
            self._reap()
            self._start_due()

    def _wait_s(self) -> float:
        if not self._due:
            return 3600.0
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _read_wanted(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._wanted = json.loads(SUPERVISE_FILE.read_text())
        running = set(self._running.values())
        self._due = {name: 0.0 for name in self._wanted if name not in running}
        for pid, name in list(self._running.items()):
            if name not in self._wanted:
                os.kill(pid, signal.SIGTERM)

    def _start_due(self) -> None:
        now = time.monotonic()
        for name, when in list(self._due.items()):
            if when <= now and not self._ending:
                del self._due[name]
                self._start(name)

    def _start(self, name: str) -> None:
        argv = self._wanted[name]
        log = f"/run/twofold-lab/{name}.log"
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        environment = {**os.environ, **self._spec.environment}
        try:
            pid = os.posix_spawnp(
                argv[0],
                argv,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=[],
            )
        except OSError as failure:
            with Path(log).open("a") as said:
                said.write(f"{name} cannot be started: {failure}\n")
            self._due[name] = time.monotonic() + RESTART_AFTER_S
            return
        self._running[pid] = name

    def _reap(self) -> None:
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._running.pop(pid, None)
            if name is not None and name in self._wanted and not self._ending:
                self._due[name] = time.monotonic() + RESTART_AFTER_S

    def _power_off(self) -> None:
        self._ending = True
        self._due.clear()
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + POWER_OFF_WITHIN_S
        while self._running and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)
            self._reap()
        os.sync()
        os._exit(0)


def spec_text(spec: boot.BootSpec) -> str:
    return json.dumps(asdict(spec)) + "\n"


if __name__ == "__main__":
    main()
