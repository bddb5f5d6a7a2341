"""A service that is a command: started, watched, stopped to the last process, adopted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.adapters.services.stand import (
    Stand,
    alive,
    end,
    free_port,
    service,
    shell,
    until,
)
from twofold.adapters.services import Application
from twofold.errors import StartFailed

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def pid_of(application: Application, name: str = "app") -> int:
    pid = next(s.pid for s in await application.status() if s.name == name)
    assert pid is not None
    return pid


def number_in(path: Path) -> int:
    return int(path.read_text())


async def test_starts_runs_and_stops(stand: Stand) -> None:
    app = stand.application(service(command=["/bin/sleep", "60"]))
    await app.start("primary")
    pid = await pid_of(app)
    assert alive(pid) and os.getsid(pid) == pid
    await app.start("primary")  # again: the same process
    assert await pid_of(app) == pid
    await app.stop("primary")
    await app.stop("primary")
    assert not alive(pid)
    assert [s.running for s in await app.status()] == [False]
    assert stand.told == []
    assert sorted(p.name for p in (stand.run / "services").iterdir()) == [".sides.json", "app.log"]
    await app.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_program_gets_its_variables_user_and_directory(stand: Stand, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    text = "id -un; pwd; echo $TWOFOLD_MODULE $TWOFOLD_NODE $TWOFOLD_STATE $COLOUR $HOME; sleep 60"
    app = stand.application(
        service(command=shell(text), user="nobody", directory="/usr", environment={"COLOUR": "red"})
    )
    await app.start("primary")
    await until(lambda: stand.log("app").count("\n") >= 3)
    assert stand.log("app").splitlines() == ["nobody", "/usr", "files a PRIM red /nonexistent"]
    await app.stop("primary")
    await app.close()


async def test_program_starts_with_ordinary_signals(stand: Stand) -> None:
    text = "grep -E 'SigIgn|SigBlk' /proc/self/status; sleep 60"
    app = stand.application(service(command=shell(text)))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await app.start("primary")
        await until(lambda: stand.log("app").count("\n") == 2)
    finally:
        signal.signal(signal.SIGHUP, hang_up)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    masks = dict(line.split() for line in stand.log("app").splitlines())
    # Signals 32 and 33 are libc's own; nobody can set them.
    assert {name: int(mask, 16) & ~(3 << 31) for name, mask in masks.items()} == {
        "SigBlk:": 0,
        "SigIgn:": 0,
    }
    await app.stop("primary")
    await app.close()


async def test_unexpected_end_is_told_with_code_and_output(stand: Stand) -> None:
    app = stand.application(service(command=shell("echo out of fuel; sleep 0.4; exit 3")))
    await app.start("primary")
    await until(lambda: bool(stand.told))
    assert stand.told == [("app", "exit code 3; last output: out of fuel")]
    (status,) = await app.status()
    assert not status.running and status.detail == "ended: exit code 3"
    await app.stop("primary")
    await app.close()


async def test_a_signal_is_named(stand: Stand) -> None:
    app = stand.application(service(command=["/bin/sleep", "60"]))
    await app.start("primary")
    os.kill(await pid_of(app), signal.SIGKILL)
    await until(lambda: bool(stand.told))
    assert stand.told == [("app", "killed by SIGKILL; last output: none")]
    await app.start("primary")  # restart after the failure
    assert alive(await pid_of(app))
    await app.stop("primary")
    await app.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (shell("echo no disk >&2; exit 4"), "ended at once: exit code 4. Its last output: no disk"),
        (["/nonexistent/program"], "/nonexistent/program: No such file or directory"),
    ],
)
async def test_failed_start_says_why(stand: Stand, command: list[str], words: str) -> None:
    app = stand.application(service(command=command))
    with pytest.raises(StartFailed) as failed:
        await app.start("primary")
    assert words in str(failed.value)
    assert str(stand.run / "services" / "app.log") in str(failed.value)
    assert stand.told == []
    await app.close()


async def test_unknown_user_is_said(stand: Stand) -> None:
    app = stand.application(service(command=["/bin/true"], user="nosuchuser"))
    with pytest.raises(StartFailed, match="the user nosuchuser does not exist on this node"):
        await app.start("primary")
    await app.close()


async def test_ready_waits_for_the_connection(stand: Stand) -> None:
    port = free_port()
    serve = f"sleep 0.6; exec {sys.executable} -m http.server --bind 127.0.0.1 {port}"
    app = stand.application(service(command=shell(serve), ready={"tcp": f"127.0.0.1:{port}"}))
    start_s = time.monotonic()
    await app.start("primary")
    assert time.monotonic() - start_s > 0.6
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await app.stop("primary")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await app.close()


async def test_never_ready_is_a_failed_start_and_leaves_nothing(
    stand: Stand, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    app = stand.application(
        service(
            command=shell(f"sleep 60 & echo $! > {noted}; wait"),
            ready={"tcp": f"127.0.0.1:{free_port()}"},
            start_timeout="500ms",
        )
    )
    with pytest.raises(StartFailed, match=r"did not accept connections on .* within 0.5 s"):
        await app.start("primary")
    assert not alive(number_in(noted))
    await app.close()


async def test_stop_is_patient_then_forced(stand: Stand) -> None:
    stubborn = service(
        "stubborn", command=shell("trap '' TERM; while :; do sleep 0.1; done"), stop_timeout="600ms"
    )
    bye = shell("trap 'sleep 0.5; echo bye; exit 0' TERM; sleep 60 & wait")
    tidy = service("tidy", command=bye)
    app = stand.application(stubborn, tidy)
    await app.start("primary")
    pids = [await pid_of(app, "stubborn"), await pid_of(app, "tidy")]
    start_s = time.monotonic()
    await app.stop("primary")
    assert 1.1 < time.monotonic() - start_s < 4
    assert not any(alive(pid) for pid in pids)
    assert stand.log("tidy") == "bye\n"
    await app.close()


async def test_what_hides_in_other_sessions_ends_too(stand: Stand, tmp_path: Path) -> None:
    inside, hidden = tmp_path / "inside", tmp_path / "hidden"
    app = stand.application(
        service(
            command=shell(
                f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') > {inside}; sleep 60) & "
                f"setsid sh -c 'trap \"\" TERM; echo $$ > {hidden}; sleep 60' & wait"
            ),
            stop_timeout="500ms",
        )
    )
    await app.start("primary")
    await until(lambda: inside.exists() and hidden.exists() and hidden.read_text() != "")
    pids = [number_in(inside), number_in(hidden)]
    assert all(alive(pid) for pid in pids)
    await app.stop("primary")
    assert not any(alive(pid) for pid in pids)
    await app.close()


async def test_leftovers_of_a_dead_first_process_end_before_a_restart(
    stand: Stand, tmp_path: Path
) -> None:
    noted = tmp_path / "pids"
    app = stand.application(service(command=shell(f"sleep 60 & echo $! >> {noted}; wait")))
    await app.start("primary")
    left = number_in(noted)
    os.kill(await pid_of(app), signal.SIGKILL)
    await until(lambda: bool(stand.told))
    assert alive(left)
    await app.start("primary")
    assert not alive(left)
    await app.stop("primary")
    await app.close()


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.05, 0.1])
async def test_a_cancelled_start_leaves_nothing_after_a_stop(
    stand: Stand, tmp_path: Path, after_s: float
) -> None:
    noted = tmp_path / "pids"
    app = stand.application(service(command=shell(f"echo $$ >> {noted}; sleep 60")))
    starting = asyncio.create_task(app.start("primary"))
    await asyncio.sleep(after_s)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await app.stop("primary")
    await asyncio.sleep(0.2)
    pids = [int(line) for line in noted.read_text().split()] if noted.exists() else []
    assert not any(alive(pid) for pid in pids)
    assert stand.told == []
    await app.close()


DAEMON = """
import asyncio, sys
from pathlib import Path
from twofold.adapters.services import Application
from twofold.config.schema import Service
async def main():
    service = Service.model_validate({"name": "app", "command": sys.argv[3:], "stop_timeout": "2s"})
    app = Application("files", "a", [service], run=Path(sys.argv[1]), scripts=Path(sys.argv[2]))
    await app.start("primary")
    print("started", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def start_in_a_daemon_that_dies(stand: Stand, *command: str) -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(stand.run), str(stand.scripts), *command],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    assert daemon.stdout is not None
    assert await asyncio.to_thread(daemon.stdout.readline) == b"started\n"
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()


async def test_survives_the_daemon_and_is_adopted(stand: Stand) -> None:
    text = "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done"
    await start_in_a_daemon_that_dies(stand, *shell(text))
    app = stand.application(service(command=shell(text)))
    assert await app.adopt()
    pid = await pid_of(app)
    before = stand.log("app").count("tick")
    await until(lambda: stand.log("app").count("tick") > before + 2)
    await app.start("primary")  # the daemon repeats what it wants: nothing happens
    assert await pid_of(app) == pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: bool(stand.told))
    assert stand.told[0][1].startswith("ended while it was watched by a restarted twofoldd")
    await app.stop("primary")
    await app.close()


async def test_adopted_service_stops(stand: Stand) -> None:
    await start_in_a_daemon_that_dies(stand, "/bin/sleep", "60")
    app = stand.application(service(command=["/bin/sleep", "60"]))
    await app.adopt()
    pid = await pid_of(app)
    await app.stop("primary")
    assert not alive(pid)
    await app.close()


async def test_not_adopted_stops_all_the_same(stand: Stand) -> None:
    await start_in_a_daemon_that_dies(stand, "/bin/sleep", "60")
    finder = stand.application(service(command=["/bin/sleep", "60"]))
    await finder.adopt()
    pid = await pid_of(finder)
    await finder.close()
    try:
        changed = stand.application(service("other", command=["/bin/sleep", "60"]))
        await changed.stop("primary")  # `app` is no longer in the configuration
        assert not alive(pid)
        await changed.close()
    finally:
        end(pid)


async def test_nothing_to_adopt(stand: Stand) -> None:
    app = stand.application(service(command=["/bin/sleep", "60"]))
    assert not await app.adopt()
    await app.start("primary")
    os.kill(await pid_of(app), signal.SIGKILL)
    await until(lambda: bool(stand.told))
    after = stand.application(service(command=["/bin/sleep", "60"]))
    assert not await after.adopt()
    await after.stop("primary")
    await app.close()
    await after.close()
