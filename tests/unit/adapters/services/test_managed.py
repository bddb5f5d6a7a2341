"""compose and libvirt services, against stand-ins that keep their state in files.

No container engine and no libvirt runs here: this proves what we ask for, in what order, within
what time, and how answers of each form are read; not that a real engine does it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.unit.adapters.services.stand import Stand, service, until
from twofold.adapters.services.tools import Fare, read_containers, read_domain
from twofold.errors import StartFailed, StopFailed

pytestmark = pytest.mark.timeout(60)

DOCKER = """#!/bin/sh
cd {here}
shift 5
echo "$@" >> calls
case "$1" in
  up) [ -e broken ] && {{ echo "no such image"; exit 1; }}; echo running > state ;;
  stop) [ -e stuck ] && {{ sleep 1; exit 1; }}; echo exited > state ;;
  kill) [ -e hard ] || echo exited > state ;;
  down) echo none > state ;;
  ps) [ -e dead ] && {{ echo "Cannot connect to the Docker daemon"; exit 1; }}
      grep -q none state && exit
      printf '{{"Service":"web","State":"%s","ExitCode":137}}' "$(cat state)" ;;
esac
"""
VIRSH = """#!/bin/sh
cd {here}
echo "$@" >> calls
case "$1" in
  start) echo running > state ;;
  shutdown) [ -e asleep ] && {{ rm asleep; exit 0; }}; [ -e stuck ] || echo 'shut off' > state ;;
  destroy) [ -e hard ] || echo 'shut off' > state ;;
  domstate) cat state ;;
esac
"""


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Path:
    here = tmp_path / "bin"
    here.mkdir(exist_ok=True)
    (here / name).write_text(text.format(here=here))
    (here / name).chmod(0o755)
    (here / "calls").write_text("")
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")
    return here


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = stand_in(tmp_path, monkeypatch, "docker", DOCKER)
    (here / "state").write_text("none\n")
    return here


@pytest.fixture
def virsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = stand_in(tmp_path, monkeypatch, "virsh", VIRSH)
    (here / "state").write_text("shut off\n")
    return here


def calls(here: Path) -> list[str]:
    lines = (here / "calls").read_text().splitlines()
    return [line for line in lines if not line.startswith(("ps ", "domstate "))]


async def test_containers_are_started_adopted_and_stopped(tmp_path: Path, docker: Path) -> None:
    stand = Stand(tmp_path)
    app = stand.application(service(compose="compose.yml"))
    await app.start("primary")
    (status,) = await app.status()
    assert status.running and "1 of 1 containers run" in status.detail
    after = stand.application(service(compose="compose.yml"))
    assert await after.adopt()
    await after.stop("primary")
    assert calls(docker) == ["up --detach", "stop --timeout 1", "down --timeout 1"]
    assert not await after.adopt()
    await app.close()
    await after.close()


async def test_one_that_runs_already_is_not_started_again(tmp_path: Path, docker: Path) -> None:
    (docker / "state").write_text("running\n")
    app = Stand(tmp_path).application(service(compose="/srv/compose.yml"))
    await app.start("primary")
    assert calls(docker) == []
    await app.close()


async def test_containers_that_do_not_start_say_why(tmp_path: Path, docker: Path) -> None:
    (docker / "broken").touch()
    app = Stand(tmp_path).application(service(compose="compose.yml"))
    with pytest.raises(StartFailed, match="no such image"):
        await app.start("primary")
    await app.close()


async def test_containers_that_do_not_stop_are_killed(tmp_path: Path, docker: Path) -> None:
    app = Stand(tmp_path).application(service(compose="compose.yml"))
    await app.start("primary")
    (docker / "stuck").touch()
    start_s = time.monotonic()
    await app.stop("primary")
    assert "kill" in calls(docker) and calls(docker)[-1] == "down --timeout 1"
    assert time.monotonic() - start_s < 15
    await app.close()


async def test_a_dead_engine_is_a_failed_stop_and_no_success(tmp_path: Path, docker: Path) -> None:
    app = Stand(tmp_path).application(service(compose="compose.yml"))
    await app.start("primary")
    (docker / "dead").touch()
    with pytest.raises(StopFailed, match="Cannot connect to the Docker daemon"):
        await app.stop("primary")
    (docker / "dead").unlink()
    await app.stop("primary")  # the next try does it
    await app.close()


async def test_a_container_that_ends_is_told(tmp_path: Path, docker: Path) -> None:
    stand = Stand(tmp_path)
    app = stand.application(service(compose="compose.yml"))
    await app.start("primary")
    (docker / "state").write_text("exited\n")
    await until(lambda: bool(stand.told))
    assert stand.told == [("app", "the containers of compose.yml: web is exited")]
    await app.close()


async def test_a_machine_is_started_and_stopped(tmp_path: Path, virsh: Path) -> None:
    app = Stand(tmp_path).application(service(libvirt="web"))
    await app.start("primary")
    (status,) = await app.status()
    assert status.running and status.detail == "the virtual machine web: it is running"
    await app.stop("primary")
    assert calls(virsh) == ["start web", "shutdown web"]
    await app.close()


async def test_a_machine_that_slept_through_the_wish_is_asked_again(
    tmp_path: Path, virsh: Path
) -> None:
    app = Stand(tmp_path).application(service(libvirt="web", stop_timeout="20s"))
    await app.start("primary")
    (virsh / "asleep").touch()
    await app.stop("primary")
    assert calls(virsh)[1:] == ["shutdown web", "shutdown web"]
    await app.close()


async def test_a_machine_that_does_not_shut_down_is_destroyed(tmp_path: Path, virsh: Path) -> None:
    app = Stand(tmp_path).application(service(libvirt="web"))
    await app.start("primary")
    (virsh / "stuck").touch()
    await app.stop("primary")
    assert calls(virsh)[-1] == "destroy web"
    await app.close()


async def test_a_machine_no_longer_configured_is_stopped(tmp_path: Path, virsh: Path) -> None:
    stand = Stand(tmp_path)
    before = stand.application(service(libvirt="web"))
    await before.start("primary")
    await before.close()
    after = stand.application(service("other", command=["/bin/sleep", "60"]))
    await after.start("primary")
    assert calls(virsh) == ["start web", "shutdown web"]
    await after.stop("primary")
    await after.close()


async def test_no_virsh_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    app = Stand(tmp_path).application(service(libvirt="web"))
    with pytest.raises(StartFailed, match="Is virsh installed on this node"):
        await app.start("primary")
    await app.close()


RUNNING = '{"Service": "web", "State": "running", "ExitCode": 0}'
JOB = '{"Service": "job", "State": "exited", "ExitCode": 0}'


@pytest.mark.parametrize(
    ("text", "fare"),
    [
        ("", Fare(False, False, "no container")),
        ("[]", Fare(False, False, "no container")),
        (RUNNING, Fare(True, True, "1 of 1 containers run")),
        (f"{RUNNING}\n{JOB}\n", Fare(True, True, "1 of 2 containers run")),
        (f"[{RUNNING}, {JOB}]", Fare(True, True, "1 of 2 containers run")),
        (f"WARN: version is obsolete\n{RUNNING}", Fare(True, True, "1 of 1 containers run")),
        (JOB, Fare(False, False, "0 of 1 containers run")),
        (
            '{"Service": "web", "State": "exited", "ExitCode": 1}',
            Fare(False, False, "web is exited"),
        ),
        ('{"Service": "web", "State": "restarting"}', Fare(True, False, "web is restarting")),
        (
            '{"Service": "web", "State": "running", "Health": "unhealthy"}',
            Fare(True, False, "web is unhealthy"),
        ),
        (
            '[{"Names": ["app_web_1"], "State": "running"}]',
            Fare(True, True, "1 of 1 containers run"),
        ),
    ],
)
def test_containers_in_every_form(text: str, fare: Fare) -> None:
    assert read_containers(text) == fare


@pytest.mark.parametrize(
    ("state", "there", "running"),
    [
        ("running", True, True),
        ("in shutdown", True, True),
        ("paused", True, False),
        ("shut off", False, False),
        ("crashed", False, False),
        ("", False, False),
    ],
)
def test_domain_states(state: str, there: bool, running: bool) -> None:
    fare = read_domain(state + "\n\n")
    assert (fare.there, fare.running) == (there, running)
