"""Power: cut without warning, reboot and power-off in order, both machines at once. Nothing
acknowledged is lost.
"""

from __future__ import annotations

import json
import time

import pytest

from twofold.config.units import parse_duration_s

from .guest import PATIENCE
from .pair import HEARTBEAT_TIMEOUT, NODES, Pair, other
from .results import Results
from .site import MODULE, SiteWriter, differences

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2700 * PATIENCE)]


def judge(site: Pair, writer: SiteWriter, results: Results) -> None:
    """After the writer's end: all is there, and both copies are equal."""
    lost = writer.lost(site)
    results.count(writer.count, len(lost))
    assert not lost
    assert differences(site) == []


@pytest.mark.parametrize("number", [1, 2])
def test_power_cut_of_the_primary(site: Pair, results: Results, number: int) -> None:
    victim = site.primary(MODULE)
    survivor = other(victim)
    writer = SiteWriter(site, first=number * 1_000_000)
    try:
        writer.wait_more(20)
        event = time.monotonic()
        site[victim].power_cut()
        results.kills += 1
        site.wait_serves(survivor, MODULE)
        writer.wait_more(20)
        results.outage("power cut", writer.outage_ms(event))
        site.back(victim)
        site.wait_both_ready(MODULE)
        writer.wait_more(5)
    finally:
        writer.stop()
    assert site.primary(MODULE) == survivor
    judge(site, writer, results)


@pytest.mark.parametrize("how", ["reboot", "poweroff"])
@pytest.mark.parametrize("turn", [1, 2])
def test_the_service_moves_before_the_machine_is_gone(
    site: Pair, results: Results, how: str, turn: int
) -> None:
    leaving = site.primary(MODULE)
    staying, guest = other(leaving), site[leaving]
    boot = guest.boot_id()
    writer = SiteWriter(site, first=(30 + turn) * 1_000_000 + (500_000 if how == "reboot" else 0))
    try:
        writer.wait_more(10)
        event = time.monotonic()
        # Through systemd itself, so that this connection is not waited for.
        guest.run(f"systemctl --no-block {how}")
        site.wait_serves(staying, MODULE)
        writer.wait_more(10)
        results.outage(how, writer.outage_ms(event))
        if how == "poweroff":
            guest.wait_off(240)
            site.back(leaving)
        else:
            guest.wait_booted(boot, 300)
        site.wait_both_ready(MODULE)
        served_before_it_was_silent(site, staying, leaving)
    finally:
        writer.stop()
    assert site.primary(MODULE) == staying
    judge(site, writer, results)


def served_before_it_was_silent(site: Pair, staying: str, leaving: str) -> None:
    """By the journal of the node that stays, since this machine looks too rarely to see it."""
    entries = json.loads(site[staying].run("twofold log -n 100 --json"))
    served_at = max(e["at"] for e in entries if e["sentence"] == f"{staying} serves")
    gone = [e["at"] for e in entries if e["sentence"].startswith(f"node {leaving} is not heard on")]
    silent_at = min(at for at in gone if at > served_at) - parse_duration_s(HEARTBEAT_TIMEOUT)
    print(f"{staying} served {silent_at - served_at:.1f} s before {leaving} fell silent")
    assert served_at < silent_at


def test_a_machine_that_was_suspended_acknowledges_nothing_old(
    site: Pair, results: Results
) -> None:
    """Its clocks stand still, so it cannot know that it slept: it wakes up in an epoch that is
    over, and what its application had under way is not acknowledged, but refused.
    """
    sleeping = site.primary(MODULE)
    staying = other(sleeping)
    writer = SiteWriter(site, first=40_000_000)
    try:
        writer.wait_more(10)
        site[sleeping].hang_up()
        monitor = site[sleeping].monitor()
        event = time.monotonic()
        monitor.pause()
        try:
            site.wait_serves(staying, MODULE)
            writer.wait_more(10)
            results.outage("suspended", writer.outage_ms(event))
        finally:
            monitor.go_on()
            monitor.close()
        site[sleeping].connect()
        site.wait_both_ready(MODULE)
        writer.wait_more(5)
    finally:
        writer.stop()
    assert site.primary(MODULE) == staying
    judge(site, writer, results)


def test_both_machines_off_and_on_again(site: Pair, results: Results) -> None:
    writer = SiteWriter(site, first=50_000_000)
    writer.wait_more(20)
    writer.stop()
    for node in NODES:
        site[node].run("systemctl --no-block poweroff")
    for node in NODES:
        site[node].wait_off(300)
    for node in NODES:
        site[node].power_on()
    for node in NODES:
        site[node].connect()
    took = site.wait_both_ready(MODULE, 400)
    print(f"in peace {took:.0f} s after both answered")
    judge(site, writer, results)


def test_power_cut_of_both(site: Pair, results: Results) -> None:
    writer = SiteWriter(site, first=60_000_000)
    try:
        writer.wait_more(20)
        for node in NODES:
            site[node].power_cut()
            results.kills += 1
        for node in NODES:
            site[node].power_on()
        for node in NODES:
            site[node].connect()
        site.wait_both_ready(MODULE, 400)
        writer.wait_more(5)
    finally:
        writer.stop()
    judge(site, writer, results)
