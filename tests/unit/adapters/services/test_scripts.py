"""Scripts as services and around changes of state: exit codes count, time is bounded."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.unit.adapters.services.stand import Stand, alive, free_port, service, shell, until
from twofold.config.schema import Service
from twofold.errors import ApplicationError, StartFailed, StopFailed

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_called_with_start_and_stop(stand: Stand, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    stand.script(
        "db",
        f"echo $1 $TWOFOLD_ACTION $TWOFOLD_SERVICE $TWOFOLD_STATE\n"
        f'[ "$1" = start ] && {{ sleep 60 & echo $! > {noted}; }} || kill $(cat {noted})\n',
    )
    app = stand.application(service(script="db"))
    await app.start("primary")
    pid = int(noted.read_text())
    assert alive(pid)
    assert [s.running for s in await app.status()] == [True]
    assert await stand.application(service(script="db")).adopt()
    stand.state = "ALONE"
    await app.stop("primary")
    assert not alive(pid)
    assert stand.log("app") == "start start app PRIM\nstop stop app ALONE\n"
    await app.close()


async def test_exit_code_of_start_counts_and_its_leftovers_end(
    stand: Stand, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    stand.script("db", f"sleep 60 & echo $! > {noted}; echo licence expired; exit 7\n")
    app = stand.application(service(script="db"))
    with pytest.raises(StartFailed, match=r"exit code 7\. Its last output: licence expired"):
        await app.start("primary")
    assert not alive(int(noted.read_text()))
    await app.close()


async def test_exit_code_of_stop_counts(stand: Stand) -> None:
    stand.script("db", '[ "$1" = start ]\n')
    app = stand.application(service(script="db"))
    await app.start("primary")
    with pytest.raises(StopFailed, match="exit code 1"):
        await app.stop("primary")
    stand.script("db", "exit 0\n")
    await app.stop("primary")
    await app.close()


async def test_a_start_that_hangs_is_bounded(stand: Stand) -> None:
    stand.script("db", "echo waiting for the moon; sleep 60\n")
    app = stand.application(service(script="db", start_timeout="300ms"))
    start_s = time.monotonic()
    with pytest.raises(StartFailed, match=r"within 0.3 s\. Its last output: waiting for the moon"):
        await app.start("primary")
    assert time.monotonic() - start_s < 5
    await app.close()


async def test_missing_or_not_executable(stand: Stand) -> None:
    app = stand.application(service(script="absent"))
    with pytest.raises(StartFailed, match="chmod"):
        await app.start("primary")
    (stand.scripts / "start_second").write_text("#!/bin/sh\n")
    with pytest.raises(StartFailed, match="not executable"):
        await app.start("second")
    await app.close()


async def test_module_scripts_surround_the_services(stand: Stand, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("start", "stop", "start_both", "stop_both", "prestart", "poststop"):
        stand.script(name, f"echo {name} >> {order}\n")
    one = shell(f"echo one >> {order}; trap 'echo one ends >> {order}; exit' TERM; sleep 60 & wait")
    two = shell(f"echo two >> {order}; trap 'echo two ends >> {order}; exit' TERM; sleep 60 & wait")
    app = stand.application(service("one", command=one), service("two", command=two))
    await app.script("transition", "WAIT", "ALONE")  # not there: nothing happens
    await app.start("both")
    await app.start("primary")
    await app.stop("primary")
    await app.stop("both")
    expected = "prestart start_both one two start stop two~ends one~ends stop_both poststop"
    assert order.read_text().split("\n")[:-1] == [w.replace("~", " ") for w in expected.split()]
    await app.close()


async def test_failed_module_script_fails_the_start(stand: Stand) -> None:
    stand.script("start", "echo no; exit 1\n")
    stand.script("transition", "exit 2\n")
    app = stand.application()
    with pytest.raises(StartFailed, match="The script start of files ended with exit code 1"):
        await app.start("primary")
    assert not await app.adopt()  # it was not started
    with pytest.raises(ApplicationError, match="exit code 2"):
        await app.script("transition")
    await app.close()


async def test_one_that_cannot_stop_does_not_keep_the_others(stand: Stand) -> None:
    stand.script("bad", '[ "$1" = start ]\n')
    app = stand.application(
        service("first", command=["/bin/sleep", "60"]), service("second", script="bad")
    )
    await app.start("primary")
    pid = (await app.status())[0].pid
    with pytest.raises(StopFailed, match="stop script of the service second"):
        await app.stop("primary")
    assert not alive(pid)
    await app.close()


async def test_a_killed_daemon_knows_it_was_in_the_middle(stand: Stand) -> None:
    stand.script("slow", '[ "$1" = stop ] || sleep 60\n')
    app = stand.application(
        service("fast", command=["/bin/sleep", "60"]), service("slow", script="slow")
    )
    starting = asyncio.create_task(app.start("primary"))
    await until(lambda: (stand.run / "services" / "slow.json").exists())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await app.close()
    after = stand.application(
        service("fast", command=["/bin/sleep", "60"]), service("slow", script="slow")
    )
    assert not await after.adopt()
    pid = (await after.status())[0].pid
    assert alive(pid)
    await after.stop("primary")
    assert not alive(pid)
    await after.close()


async def test_a_cancelled_start_script_does_not_run_beside_the_stop(stand: Stand) -> None:
    stand.script("db", '[ "$1" = stop ] || { echo began; sleep 1; echo went on; }\n')
    app = stand.application(service(script="db"))
    starting = asyncio.create_task(app.start("primary"))
    await until(lambda: "began" in (stand.log("app") if stand.has_log("app") else ""))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await app.stop("primary")
    await asyncio.sleep(1)
    assert stand.log("app") == "began\n"
    await app.close()


def waits_for(port: int, bound: str) -> Service:
    return service(script="db", ready={"tcp": f"127.0.0.1:{port}"}, start_timeout=bound)


async def test_ready_is_waited_for_after_a_script_too(stand: Stand) -> None:
    port = free_port()
    door = f"""
import socket, time
time.sleep(0.4)
s = socket.create_server(("127.0.0.1", {port}))
while True: s.accept()
"""
    stand.script("door.py", "")
    (stand.scripts / "door.py").write_text(door)
    start = f"{sys.executable} {stand.scripts}/door.py >/dev/null 2>&1 & echo $! > {stand.run}/pid"
    stand.script("db", f'[ "$1" = start ] && {{ {start}; }} || kill $(cat {stand.run}/pid)\n')
    app = stand.application(waits_for(port, "20s"))
    begun_s = time.monotonic()
    await app.start("primary")
    assert time.monotonic() - begun_s > 0.4
    with socket.create_connection(("127.0.0.1", port), 1):
        pass
    await app.stop("primary")
    await app.close()


async def test_what_does_not_become_ready_in_its_time_has_not_started(stand: Stand) -> None:
    stand.script("db", "true\n")
    app = stand.application(waits_for(free_port(), "300ms"))
    with pytest.raises(StartFailed, match=r"did not accept connections on 127\.0\.0\.1:"):
        await app.start("primary")
    await app.stop("primary")
    await app.close()
