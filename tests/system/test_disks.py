"""The catalogue's lines about disks that fail, and about what a person does with old data.

A disk "fails" when its file system is shut down under the running node: each call on it is an
input/output error from then on, for the engine and for the daemon's own state.
"""

from __future__ import annotations

import time

from tests.system.conftest import Pair
from tests.system.troubled import (
    LONG_IN_LAB,
    TIMEOUT_S,
    Beside,
    ends_well,
    has_taken_over,
    in_state,
    is_told,
    never_serves,
    site,
)
from twofold.lab import kernel
from twofold.lab.cluster import DAEMON, daemon_command, other

__all__ = ["site"]
pytestmark = LONG_IN_LAB


def disk_fails(pair: Pair, node: str) -> None:
    kernel.shut_file_system(pair.lab.inside(node, "/var/lib/twofold"))


def nothing_can_be_made(pair: Pair, node: str, so: bool) -> None:
    """In the node's state: each record is a new file that takes the place of the old one. (As the
    engine has a log open there the mount cannot be made read-only.)"""
    how = "+i" if so else "-i"
    state = ["find", "/var/lib/twofold", "-type", "d", "-exec", "chattr", how, "{}", "+"]
    pair.lab.exec(node, state)


def replaced(pair: Pair, node: str) -> None:
    """The machine is switched off and on again; its disk works."""
    pair.lab.kill(node)
    pair.lab.start(node)


def test_the_disk_of_the_primary_fails(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    disk_fails(pair, node)
    try:
        assert has_taken_over(pair, node, event_s) < TIMEOUT_S + 5
        is_told(pair, other(node), "does not serve any more, and this copy is current")
        is_told(pair, node, "this node stops by force")
        pair.calm()
    finally:
        replaced(pair, node)
    ends_well(pair, other(node))


def test_the_disk_of_the_second_fails(pair: Pair) -> None:
    node = pair.primary()
    event_s = time.monotonic()
    disk_fails(pair, other(node))
    try:
        alone = lambda: pair.shown(node).startswith("ALONE")  # noqa: E731
        assert pair.outage_s(event_s, alone) < 2 * TIMEOUT_S + 1
        is_told(pair, node, "goes on alone")
        pair.calm()
        never_serves(pair, other(node), 2)
    finally:
        replaced(pair, other(node))
    ends_well(pair, node)


def test_the_disk_of_the_second_fails_and_then_the_primary_loses_power(pair: Pair) -> None:
    node = pair.primary()
    disk_fails(pair, other(node))
    in_state(pair, node, "ALONE")
    pair.calm()
    pair.lab.kill(node)
    replaced(pair, other(node))
    never_serves(pair, other(node), TIMEOUT_S + 3)
    pair.lab.start(node)
    ends_well(pair, node)


def test_a_record_that_cannot_be_written_is_no_take_over(pair: Pair) -> None:
    """The second's node cannot write its state; it serves when that is mended."""
    node = pair.primary()
    second = other(node)
    nothing_can_be_made(pair, second, True)
    try:
        pair.lab.kill(node)
        never_serves(pair, second, TIMEOUT_S + 3)
        is_told(pair, second, "cannot be written")
    finally:
        nothing_can_be_made(pair, second, False)
    pair.cluster.wait("it serves", lambda: pair.serves(second), 30)
    pair.lab.start(node)
    pair.whole()
    pair.nothing_lost()


def test_who_cannot_remember_that_it_gave_up_serves_nothing_old(pair: Pair) -> None:
    """It could not write that the other serves now; the other dies, and its daemon comes back."""
    node = pair.primary()
    second = other(node)
    pair.calm()
    nothing_can_be_made(pair, node, True)
    try:
        asked = Beside(pair, node, "swap", pair.module, "--timeout", "20s")
        pair.cluster.wait("the other serves", lambda: pair.serves(second), 30)
        asked.end()
        is_told(pair, node, "refused to go on serving")
        pair.calm()
        pair.lab.supervise(node, DAEMON, None)
        pair.lab.kill(second)
    finally:
        nothing_can_be_made(pair, node, False)
        pair.lab.supervise(node, DAEMON, daemon_command())
    never_serves(pair, node, TIMEOUT_S + 3)
    pair.lab.start(second)
    ends_well(pair, second)


def test_what_the_only_node_had_not_synced_is_lost_with_its_power_and_all_else_is_there(
    pair: Pair,
) -> None:
    node = pair.primary()
    pair.lab.kill(other(node))
    in_state(pair, node, "ALONE")
    pair.calm()
    place = f"{pair.workload.directory}/unsynced"
    pair.lab.exec(node, ["sh", "-c", f"echo in memory only > {place}"])
    pair.lab.kill(node)
    pair.lab.start(node)
    pair.cluster.wait("it serves", lambda: pair.serves(node), 30)
    text = pair.lab.exec(node, ["cat", place], check=False).stdout
    assert text in ("", "in memory only\n"), "half of it, or something else"
    pair.lab.start(other(node))
    pair.whole()
    pair.nothing_lost()


def stale(pair: Pair) -> tuple[str, str]:
    """(who has the newest data and is off, who has old data and runs)."""
    new = pair.primary()
    old = other(new)
    pair.lab.kill(old)
    in_state(pair, new, "ALONE")
    pair.calm()
    pair.writer.stop()
    pair.lab.kill(new)
    pair.lab.start(old)
    in_state(pair, old, "WAIT")
    return new, old


def test_old_data_waits_and_says_for_whom(pair: Pair) -> None:
    new, old = stale(pair)
    never_serves(pair, old, TIMEOUT_S + 2)
    state = pair.cluster.state(old, pair.module) or {}
    assert new in str(state.get("sentence")) + str(state.get("mend")), state
    code, said = pair.twofold(old, "prim", pair.module, check=False)
    assert code != 0 and "prim" in said, said
    pair.lab.start(new)
    ends_well(pair, new)


def test_old_data_that_a_person_has_serve_is_what_both_have_afterwards(pair: Pair) -> None:
    """The newer copy gives way; its data is kept aside."""
    new, old = stale(pair)
    pair.twofold(old, "prim", pair.module, "--yes")
    in_state(pair, old, "ALONE")
    is_told(pair, old, "decided that")
    pair.lab.start(new)
    pair.whole()
    assert pair.primary() == old
    assert "rescue" in pair.twofold(new, "why", pair.module)[1]
    pair.copies_equal()


def test_without_failover_a_person_decides(pair: Pair) -> None:
    node = pair.primary()
    pair.twofold(node, "failover", "off", pair.module)
    try:
        pair.lab.kill(node)
        never_serves(pair, other(node), TIMEOUT_S + 3)
        pair.lab.start(node)
        pair.whole()  # both looked: the copy that lost no power serves, or the last primary
        node = pair.primary()
        pair.lab.kill(node)
        in_state(pair, other(node), "SECOND")
        time.sleep(TIMEOUT_S + 1)
        pair.twofold(other(node), "prim", pair.module)
        in_state(pair, other(node), "ALONE")
        is_told(pair, other(node), "decided that")
        pair.lab.start(node)
        pair.whole()
    finally:
        pair.twofold("a", "failover", "on", pair.module, check=False)
    pair.nothing_lost()
