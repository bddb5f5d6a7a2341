"""systemd units, against a stand-in systemctl that keeps one unit's state in a file.

It proves what we ask and how we read the answers; the real systemd is tested in virtual machines.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.adapters.services.stand import Stand, service, until
from twofold.errors import StartFailed, StopFailed

pytestmark = pytest.mark.timeout(40)

SYSTEMCTL = """#!/bin/sh
cd {here}
echo "$@" >> calls
case "$1" in
  start) [ -e broken ] && {{ echo "Job for demo.service failed."; exit 1; }}; echo active > state ;;
  stop) [ -e stuck ] || echo inactive > state ;;
  kill) rm -f stuck ;;
  show) [ -e mute ] && exit 1
    [ -e silent ] && {{ rm silent; exit 1; }}
    printf 'ActiveState=%s\\nSubState=running\\nMainPID=42\\n' "$(cat state)" ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "bin"
    here.mkdir()
    (here / "systemctl").write_text(SYSTEMCTL.format(here=here))
    (here / "systemctl").chmod(0o755)
    (here / "state").write_text("inactive\n")
    (here / "calls").write_text("")
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")
    return here


def calls(systemctl: Path) -> list[str]:
    return [line for line in (systemctl / "calls").read_text().splitlines() if "show" not in line]


async def test_started_watched_adopted_and_stopped(tmp_path: Path, systemctl: Path) -> None:
    stand = Stand(tmp_path)
    app = stand.application(service(systemd="demo"))
    await app.start("primary")
    (status,) = await app.status()
    assert status.running and status.pid == 42
    after = stand.application(service(systemd="demo"))
    assert await after.adopt()
    await after.stop("primary")
    assert calls(systemctl) == ["start demo", "stop demo"]
    assert not await after.adopt()
    await app.close()
    await after.close()


async def test_no_answer_of_systemd_is_no_state(tmp_path: Path, systemctl: Path) -> None:
    """On a machine in trouble a look may fail: neither a start nor a running unit fails by it."""
    stand = Stand(tmp_path)
    app = stand.application(service(systemd="demo"))
    (systemctl / "silent").touch()
    await app.start("primary")
    (systemctl / "silent").touch()
    (status,) = await app.status()
    assert status.running and "does not answer" in status.detail
    (systemctl / "silent").touch()
    after = stand.application(service(systemd="demo"))
    assert await after.adopt()
    (systemctl / "silent").touch()
    await after.stop("primary")
    assert calls(systemctl) == ["start demo", "stop demo"]
    assert stand.told == []
    await app.close()
    await after.close()


async def test_a_start_that_systemd_has_done_counts_though_it_says_nothing_after(
    tmp_path: Path, systemctl: Path
) -> None:
    """A starved machine: each look runs into its bound, for longer than a start may take."""
    stand = Stand(tmp_path)
    app = stand.application(service(systemd="demo", start_timeout="500ms"))
    (systemctl / "mute").touch()
    await app.start("primary")
    (systemctl / "state").write_text("failed\n")
    (systemctl / "mute").unlink()
    await until(lambda: bool(stand.told))
    assert stand.told == [("app", "the unit demo is failed (running)")]
    await app.close()


async def test_going_down_by_itself_is_told(tmp_path: Path, systemctl: Path) -> None:
    stand = Stand(tmp_path)
    app = stand.application(service(systemd="demo"))
    await app.start("primary")
    (systemctl / "state").write_text("failed\n")
    await until(lambda: bool(stand.told))
    assert stand.told == [("app", "the unit demo is failed (running)")]
    await app.close()


async def test_a_unit_that_does_not_start_says_why(tmp_path: Path, systemctl: Path) -> None:
    (systemctl / "broken").touch()
    app = Stand(tmp_path).application(service(systemd="demo"))
    with pytest.raises(StartFailed, match="Job for demo") as failed:
        await app.start("primary")
    assert "journalctl -u demo" in str(failed.value)
    await app.close()


async def test_a_unit_that_does_not_stop_is_killed(tmp_path: Path, systemctl: Path) -> None:
    app = Stand(tmp_path).application(service(systemd="demo"))
    await app.start("primary")
    (systemctl / "stuck").touch()
    await app.stop("primary")
    assert calls(systemctl)[1:] == ["stop demo", "kill --signal=SIGKILL demo", "stop demo"]
    await app.close()


async def test_a_unit_that_survives_is_a_failed_stop(tmp_path: Path, systemctl: Path) -> None:
    app = Stand(tmp_path).application(service(systemd="demo"))
    await app.start("primary")
    program = (systemctl / "systemctl").read_text().replace("rm -f stuck", ":")
    (systemctl / "systemctl").write_text(program)
    (systemctl / "stuck").touch()
    with pytest.raises(StopFailed, match="could not be stopped: it is active"):
        await app.stop("primary")
    await app.close()


async def test_no_systemctl_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    app = Stand(tmp_path).application(service(systemd="demo"))
    with pytest.raises(StartFailed, match="no systemctl"):
        await app.start("primary")
    await app.close()


async def test_a_unit_no_longer_in_the_configuration_is_stopped(
    tmp_path: Path, systemctl: Path
) -> None:
    stand = Stand(tmp_path)
    before = stand.application(service(systemd="demo"))
    await before.start("primary")
    await before.close()
    after = stand.application(service("other", command=["/bin/sleep", "60"]))
    await after.start("primary")
    assert calls(systemctl) == ["start demo", "stop demo"]
    await after.stop("primary")
    await after.close()
