"""A real systemd: the package's units, the `systemd` driver of services, restarts of the daemon
that nobody notices.
"""

from __future__ import annotations

import time

import pytest

from .guest import PATIENCE, Guest, wait_until
from .pair import Pair, other
from .results import Results
from .site import MODULE, UNIT, SiteWriter

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2700 * PATIENCE)]


def main_pid(guest: Guest, unit: str) -> int:
    return int(guest.run(f"systemctl show -P MainPID {unit}"))


def is_active(guest: Guest, unit: str) -> bool:
    return guest.try_run(f"systemctl is-active -q {unit}").returncode == 0


def engine(guest: Guest) -> str:
    return guest.run("pgrep -f '[m]irror_process --config'").strip()


def test_the_package_brings_running_units(pair: Pair) -> None:
    for guest in pair.guests.values():
        assert is_active(guest, "twofoldd.service")
        assert is_active(guest, "twofold-poweroff.service")
        assert not is_active(guest, "twofold-witness.service"), "no witness was enrolled here"
        assert guest.run("systemctl is-enabled twofoldd").strip() == "enabled"
        assert "twofold:x:" in guest.run("getent group twofold")
        assert guest.run("stat -c %a:%G /run/twofold/twofoldd.sock").strip() == "660:twofold"
        # The image of the guests is one without documentation.
        changed = guest.run("dpkg -V twofold | grep -v ' /usr/share/doc/twofold' || true")
        assert changed.strip() == "", "installed files are those of the package"


def test_the_unit_runs_on_the_primary_alone(site: Pair) -> None:
    primary = site.primary(MODULE)
    assert is_active(site[primary], UNIT)
    assert not is_active(site[other(primary)], UNIT)


def test_a_unit_that_dies_is_started_again(site: Pair) -> None:
    primary = site.primary(MODULE)
    before = main_pid(site[primary], UNIT)
    site[primary].run(f"systemctl kill -s KILL {UNIT}")
    wait_until("the unit runs again", lambda: is_active(site[primary], UNIT), 120)
    site.wait_both_ready(MODULE)
    assert main_pid(site[primary], UNIT) not in (0, before)
    assert site.primary(MODULE) == primary, "one death is mended where it happened"


# Without `--kill-whom=main` the engine and what runs on it are killed too: they are of the unit.
KILL = "systemctl kill --kill-whom=main -s KILL twofoldd"


@pytest.mark.parametrize("how", ["systemctl restart twofoldd", KILL])
def test_a_daemon_that_comes_back_touches_nothing(site: Pair, results: Results, how: str) -> None:
    primary = site.primary(MODULE)
    guest = site[primary]
    unit, mirror, daemon = main_pid(guest, UNIT), engine(guest), main_pid(guest, "twofoldd")
    writer = SiteWriter(site, first=10_000_000 if "restart" in how else 20_000_000)
    try:
        writer.wait_more(10)
        event = time.monotonic()
        guest.run(how)
        wait_until(
            "another daemon runs", lambda: main_pid(guest, "twofoldd") not in (0, daemon), 90
        )
        site.wait_both_ready(MODULE)
        writer.wait_more(10)
        results.outage("daemon restarted", writer.outage_ms(event))
    finally:
        writer.stop()
    assert (main_pid(guest, UNIT), engine(guest)) == (unit, mirror)
    assert site.primary(MODULE) == primary
    lost = writer.lost(site)
    results.count(writer.count, len(lost))
    assert not lost


def test_stop_and_start_by_the_administrator(site: Pair) -> None:
    first = site.primary(MODULE)
    second = other(first)
    site[first].run(f"twofold stop {MODULE}", timeout_s=240)
    assert not is_active(site[first], UNIT)
    assert site[first].run("findmnt -rn -t fuse.twofold || true") == ""
    site.wait_serves(second, MODULE)
    assert is_active(site[second], UNIT)
    site[first].run(f"twofold start {MODULE}", timeout_s=240)
    site.wait_both_ready(MODULE)
    assert site.primary(MODULE) == second
