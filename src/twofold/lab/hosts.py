"""Starting a host of the lab, running something in it, ending it.

A host is one process: its process 1. While that lives, its namespaces live; when it is killed, the
kernel kills all the host's processes, unmounts its disk and removes its cables.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from twofold.errors import MachineError

from . import boot, init, kernel
from .record import ProcessId
from .requirements import find_program

START_WITHIN_S = 20.0
DEATH_WITHIN_S = 20.0


class StartingHost:
    """The conversation with a new process 1: ready, build, built, go, up (see `init`)."""

    def __init__(self, spec: boot.BootSpec, log: Path) -> None:
        self._spec = spec
        self._log = log
        self._deadline = time.monotonic() + START_WITHIN_S
        argv = [sys.executable, "-m", "twofold.lab.init", "--lab", spec.lab, "--host", spec.host]
        with log.open("ab") as errors:
            self._starter = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=python_environment(),
                cwd="/",
                start_new_session=True,
            )
        self.process = self._first_words()

    def _first_words(self) -> ProcessId:
        self._say(init.spec_text(self._spec))
        pid = int(self._hear("ready").split()[1])
        self._starter.wait(timeout=START_WITHIN_S)
        process = ProcessId.of(pid)
        if process is None:
            raise self._failed("ended at once")
        return process

    def build(self) -> None:
        self._say("build\n")
        self._hear("built")

    def go(self) -> None:
        self._say("go\n")
        self._hear("up")
        for pipe in (self._starter.stdin, self._starter.stdout):
            if pipe is not None:
                pipe.close()

    def _say(self, text: str) -> None:
        assert self._starter.stdin is not None
        try:
            self._starter.stdin.write(text.encode())
            self._starter.stdin.flush()
        except BrokenPipeError:
            raise self._failed("ended while it was started") from None

    def _hear(self, word: str) -> str:
        assert self._starter.stdout is not None
        left_s = max(0.0, self._deadline - time.monotonic())
        heard, _, _ = select.select([self._starter.stdout], [], [], left_s)
        if not heard:
            raise self._failed(f"did not say {word!r} within {START_WITHIN_S:.0f} s")
        # We take turns, one short line each, so a read is exactly one line.
        line = os.read(self._starter.stdout.fileno(), 4096).decode().strip()
        if not line.startswith(word):
            raise self._failed(f"said {line!r} instead of {word!r}")
        return line

    def _failed(self, what: str) -> MachineError:
        words = self._log.read_text(errors="replace").strip().splitlines()
        last = f": {words[-1]}" if words else ""
        return MachineError(f"Host {self._spec.host} of the lab {what}{last} (see {self._log}).")


def python_environment() -> dict[str, str]:
    """The environment of every process in the lab: this Python and this checkout first."""
    here = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    kept = {key: os.environ[key] for key in ("TERM", "LANG", "LC_ALL") if key in os.environ}
    named = {key: text for key, text in os.environ.items() if key.startswith("TWOFOLD_LAB_ENV_")}
    return {
        **kept,
        **{key.removeprefix("TWOFOLD_LAB_ENV_"): text for key, text in named.items()},
        "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": "/root",
        "PYTHONPATH": str(here),
    }


def visible_directories() -> list[str]:
    """What a host must see wherever it lies: the checkout or package, the Python environment."""
    here = Path(__file__).resolve()
    package = here.parents[3] if (here.parents[3] / "pyproject.toml").exists() else here.parents[2]
    found = [package, Path(sys.prefix), Path(sys.base_prefix)]
    return list(dict.fromkeys(str(path.resolve()) for path in found))


def enter_argv(process: ProcessId, argv: list[str]) -> list[str]:
    """The command that runs `argv` in the host."""
    nsenter = find_program("nsenter") or "nsenter"
    into = ["--target", str(process.pid), "--mount", "--uts", "--ipc", "--net", "--pid"]
    return [nsenter, *into, "--", *argv]


def tell_supervisor(process: ProcessId, supervise: dict[str, list[str]]) -> None:
    """Change what a running host keeps running."""
    path = Path(f"/proc/{process.pid}/root{init.SUPERVISE_FILE}")
    aside = path.with_suffix(".new")
    aside.write_text(init.json.dumps(supervise))
    aside.rename(path)
    os.kill(process.pid, signal.SIGHUP)


def power_cut_disk(process: ProcessId) -> None:
    """From this instant nothing in the node's memory reaches its disk."""
    # Never a module's directory: this must not go through a replicated mount.
    kernel.shut_file_system(Path(f"/proc/{process.pid}/root/var/lib/twofold"))


def kill(process: ProcessId) -> None:
    """End a host: process 1 is killed, the kernel ends the rest. Waits until it is gone."""
    if not process.alive():
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    wait_dead(process, DEATH_WITHIN_S)


def wait_dead(process: ProcessId, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while process.alive():
        if time.monotonic() > deadline:
            raise MachineError(
                f"Process {process.pid} of the lab did not end within {timeout_s:.0f} s; "
                "a process of that host is stuck in the kernel."
            )
        time.sleep(0.01)


def leftover_inits(lab: str) -> list[ProcessId]:
    """Every process 1 of this lab that runs, recorded or not."""
    mark = b"\0-m\0twofold.lab.init\0--lab\0" + lab.encode() + b"\0"
    found: list[ProcessId] = []
    for commandline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark in commandline.read_bytes():
                process = ProcessId.of(int(commandline.parent.name))
                found += [process] if process else []
    return found
