"""The machine's watchdog (qemu's i6300esb, with the kernel's driver): armed where a module serves,
let go in order, and when the daemon hangs it resets the machine and the other node serves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .guest import PATIENCE, SSH_PORT, Guest, wait_until
from .pair import NODES, Pair, other
from .results import Results
from .site import MODULE, SiteWriter
from .test_power import judge
from .test_units import main_pid
from .volumes import MODULE as VOLUMES

DEVICE = "/dev/watchdog"
NODE_FILE = "/etc/twofold/node.toml"
_STATUS = "/sys/class/watchdog/watchdog0/state"
# The timer is set to 15 s; a guest that is still there after twice that was not to be reset.
LONGER_THAN_THE_TIMER_S = 35.0
# The timer, and what the emulated machine needs to notice.
RESET_BOUND_S = 60.0
pytestmark = [pytest.mark.vm, pytest.mark.timeout(2700 * PATIENCE)]


def is_armed(guest: Guest) -> bool:
    return guest.run(f"cat {_STATUS}").strip() == "active"


def restart_daemons(pair: Pair) -> None:
    """Of both nodes at once: what they serve goes on."""
    before = {node: main_pid(pair[node], "twofoldd") for node in NODES}
    pair.both("systemctl restart twofoldd")
    for node in NODES:
        wait_until(
            f"another daemon runs on {node}",
            lambda n=node: main_pid(pair[n], "twofoldd") not in (0, before[n]) and pair.answers(n),
            240,
            1.0,
        )
    pair.wait_both_ready(MODULE)


def stop_volumes(pair: Pair) -> None:
    """A kept pair serves them, and whatever serves arms the watchdog. The second first: it would
    take over.
    """
    states = {node: pair.state(node, VOLUMES).get("state") for node in NODES}
    for node in sorted(NODES, key=lambda n: states[n] != "SECOND"):
        if states[node] not in (None, "STOP"):
            pair[node].run(f"twofold stop {VOLUMES}", timeout_s=600)


@pytest.fixture(scope="module")
def guarded(site: Pair) -> Iterator[Pair]:
    """The watchdog is given to Twofold on both nodes, and taken away again."""
    stop_volumes(site)
    # Before the first table of the file, if there is one. udev loads the driver by itself.
    site.both(f"test -c {DEVICE} && sed -i '1i watchdog = \"{DEVICE}\"' {NODE_FILE}")
    restart_daemons(site)
    yield site
    site.both(f"sed -i '/^watchdog = /d' {NODE_FILE}")
    restart_daemons(site)


def wait_armed(pair: Pair, node: str) -> None:
    wait_until(f"the watchdog of {node} is armed", lambda: is_armed(pair[node]), 60, 1.0)


def wait_let_go(pair: Pair, node: str) -> None:
    wait_until(f"the watchdog of {node} is let go", lambda: not is_armed(pair[node]), 60, 1.0)


def test_it_is_armed_where_the_module_serves(guarded: Pair) -> None:
    primary = guarded.primary(MODULE)
    wait_armed(guarded, primary)
    assert not is_armed(guarded[other(primary)])


def test_it_moves_with_the_service(guarded: Pair) -> None:
    before = guarded.primary(MODULE)
    guarded[before].run(f"twofold swap {MODULE}", timeout_s=240)
    guarded.wait_both_ready(MODULE)
    assert guarded.primary(MODULE) == other(before)
    wait_armed(guarded, other(before))
    wait_let_go(guarded, before)


def test_a_daemon_that_is_stopped_in_order_lets_it_go(guarded: Pair) -> None:
    primary = guarded.primary(MODULE)
    guest = guarded[primary]
    boot = guest.boot_id()
    guest.run("systemctl stop twofoldd")
    assert not is_armed(guest)
    time.sleep(LONGER_THAN_THE_TIMER_S)
    assert guest.boot_id() == boot
    guest.run("systemctl start twofoldd")
    wait_until(f"twofoldd answers on {primary}", lambda: guarded.answers(primary), 180, 1.0)
    guarded.wait_both_ready(MODULE)
    assert guarded.primary(MODULE) == primary, "the service went on without its daemon"
    wait_armed(guarded, primary)


def test_a_daemon_that_hangs_where_nothing_serves_is_left_alone(guarded: Pair) -> None:
    primary = guarded.primary(MODULE)
    guest = guarded[other(primary)]
    boot, daemon = guest.boot_id(), main_pid(guest, "twofoldd")
    guest.run(f"kill -STOP {daemon}")
    time.sleep(LONGER_THAN_THE_TIMER_S)
    guest.run(f"kill -CONT {daemon}")
    assert guest.boot_id() == boot
    guarded.wait_both_ready(MODULE)
    assert guarded.primary(MODULE) == primary


def test_a_daemon_that_hangs_where_it_serves_has_its_machine_reset(
    guarded: Pair, results: Results
) -> None:
    hanging = guarded.primary(MODULE)
    staying, guest = other(hanging), guarded[hanging]
    wait_armed(guarded, hanging)
    boot, daemon = guest.boot_id(), main_pid(guest, "twofoldd")
    writer = SiteWriter(guarded, first=70_000_000)
    try:
        writer.wait_more(10)
        event = time.monotonic()
        guest.run(f"kill -STOP {daemon}")
        reset_after = wait_until(
            f"{hanging} is reset",
            lambda: not guarded.network.reaches(guest.address, SSH_PORT),
            RESET_BOUND_S,
            0.5,
        )
        guarded.wait_serves(staying, MODULE)
        writer.wait_more(10)
        results.outage("watchdog", writer.outage_ms(event))
        print(f"{hanging}: reset {reset_after:.0f} s after its daemon hung")
        guest.connect()
        assert guest.boot_id() != boot, "it was only silent"
        guarded.wait_both_ready(MODULE, 400)
        writer.wait_more(5)
    finally:
        writer.stop()
    assert guarded.primary(MODULE) == staying
    judge(guarded, writer, results)
