"""Stories for a person to read: each transcript is what both journals say, in the order of time.

When a change of the rules changes a story, read the difference; if it is what you meant, write it
anew with `TWOFOLD_REWRITE=1 pytest tests/scenarios/test_transcripts.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.world import World, pair
from tests.scenarios.arbitration_stories import ARBITRATION_STORIES
from twofold.machine.events import (
    CheckerTripped,
    CheckerWell,
    PrimAsked,
    RestartAsked,
    StartAsked,
    StopAsked,
    SwapAsked,
)

HERE = Path(__file__).parent / "transcripts"


def first_start() -> World:
    """A new pair: `prim` where the good data is, `start` on the other, a second `prim` refused."""
    world = World()
    world.story.clear()
    world.ask("b", StartAsked())
    world.pass_time(4)
    world.note(world.ask("a", PrimAsked()))
    world.pass_time(1)
    world.note(world.ask("b", PrimAsked()))
    return world


def swap() -> World:
    """The application stops on one side before it starts on the other."""
    world = pair()
    world.ask("a", SwapAsked())
    world.note(world.ask("a", SwapAsked()))
    return world


def swap_goes_back() -> World:
    """The other side cannot start the application: it comes back."""
    world = pair()
    world["b"].starts_fail = 9
    world.ask("a", SwapAsked())
    world.pass_time(1)
    return world


def power_cut() -> World:
    """The primary dies, the secondary takes over; the dead one comes back and is copied to."""
    world = pair()
    world.power_cut("a")
    world.pass_time(4)
    world.boot("a")
    world.pass_time(4)
    return world


def power_cut_of_the_second() -> World:
    world = pair()
    world.power_cut("b")
    world.pass_time(4)
    world.boot("b")
    world.pass_time(4)
    return world


def failback() -> World:
    """With default_primary the service returns when the copy is whole."""
    world = pair(default_primary="a")
    world.power_cut("a")
    world.pass_time(4)
    world.boot("a")
    world.pass_time(4)
    return world


def orderly_stop() -> World:
    """The primary is stopped: the other takes over at once. Then the other; then both start."""
    world = pair()
    world.ask("a", StopAsked())
    world.ask("b", StopAsked())
    world.ask("a", StartAsked())
    world.pass_time(4)
    world.note(world.ask("a", PrimAsked()))
    world.ask("b", StartAsked())
    world.pass_time(1)
    return world


def stale_start() -> World:
    """The one with old data waits; forced, it serves; the other is copied over when it returns."""
    world = pair()
    world.power_cut("b")
    world.pass_time(4)
    world.power_cut("a")
    world.boot("b")
    world.pass_time(4)
    world.note(world.ask("b", PrimAsked()))
    world.note(world.ask("b", PrimAsked(force=True)))
    return world


def both_lose_power() -> World:
    """Both lose power at the same moment and return in any order: the last primary serves."""
    world = pair()
    world.power_cut("a")
    world.power_cut("b")
    world.boot("b")
    world.pass_time(4)
    world.boot("a")
    world.pass_time(4)
    return world


def service_failures() -> World:
    """Restart, restart, then max_loops is reached and the other takes over."""
    world = pair(max_loops=2)
    for _ in range(3):
        world.fail_service("a")
        world.pass_time(1)
    return world


def checker_failover() -> World:
    world = pair()
    world.tell("a", CheckerTripped("web", "failover", "no connection to 127.0.0.1:80"))
    world.settle()
    world.pass_time(1)
    world.note("the application failed on a just now, so a failure on b restarts it there")
    world.tell("b", CheckerTripped("web", "failover", "no connection to 127.0.0.1:80"))
    world.settle()
    return world


GATEWAY = CheckerTripped("gateway", "wait", "no answer from 10.0.0.254")


def checker_wait() -> World:
    """What the application needs fails on a: b serves; a follows, but takes over only when well."""
    world = pair()
    world.tell("a", GATEWAY)
    world.settle()
    world.pass_time(1)
    world.note(world.ask("b", SwapAsked()))
    world.power_cut("b")
    world.pass_time(4)
    world.note(f"{world.picture()}: the gateway of a is back")
    world.tell("a", CheckerWell("gateway"))
    world.settle()
    return world


def checker_wait_alone() -> World:
    """There is nobody else: the application is stopped until what it needs is well again."""
    world = pair()
    world.ask("b", StopAsked())
    world.tell("a", GATEWAY)
    world.settle()
    world.pass_time(8)
    world.note(f"{world.picture()}: the gateway is back")
    world.tell("a", CheckerWell("gateway"))
    world.settle()
    return world


def checker_wait_at_start() -> World:
    """A start waits for the first good answer; a person may decide otherwise."""
    world = World(waits_for=("gateway",))
    world.story.clear()
    world.ask("a", PrimAsked())
    world.pass_time(4)
    world.note(world.picture())
    world.note(world.ask("a", PrimAsked(force=True)))
    return world


def start_fails_alone() -> World:
    """Nobody else can serve: tried again up to max_loops, then stopped with an alarm."""
    world = pair(max_loops=3)
    world.ask("b", StopAsked())
    world["a"].starts_fail = 9
    world.ask("a", RestartAsked())
    world.pass_time(1)
    return world


def split() -> World:
    """All ways between the nodes are cut, both serve; when they hear each other one gives up."""
    world = pair()
    world.heartbeats_pass = world.flow_passes = False
    world.settle()
    world.pass_time(5)
    world.note("the networks are back")
    world.heartbeats_pass = world.flow_passes = True
    world.pass_time(2)
    return world


def flow_lost() -> World:
    """Only the replication link is lost: the copy is marked before the primary goes on alone."""
    world = pair()
    world.flow_passes = False
    world.settle()
    world.pass_time(4)
    world.power_cut("a")
    world.pass_time(4)
    return world


def heartbeats_lost() -> World:
    """Only the heartbeats are lost, the link lives: no false alarm."""
    world = pair()
    world.heartbeats_pass = False
    world.pass_time(6)
    world.note(world.picture())
    return world


def primary_lost_in_resync() -> World:
    world = pair()
    world.power_cut("b")
    world.pass_time(4)
    world.hold_copies = True
    world.boot("b")
    world.pass_time(2)
    world.power_cut("a")
    world.pass_time(4)
    world.hold_copies = False
    world.boot("a")
    world.pass_time(4)
    return world


def peer_dies_in_swap() -> World:
    """The service was handed over, but the other dies before it takes it: it is taken back."""
    world = pair()
    world.tell("a", SwapAsked())
    for _ in range(3):
        world.work("a")
    world.power_cut("b")
    world.settle()
    world.pass_time(4)
    return world


def daemon_restarts() -> World:
    """The daemon is killed and started again on either side; nothing else changes."""
    world = pair()
    world.restart_daemon("a")
    world.settle()
    world.pass_time(1)
    world.restart_daemon("b")
    world.settle()
    world.pass_time(1)
    world.note(world.picture())
    return world


def engine_dies() -> World:
    """The engine of the primary ends by itself: what stood on it is stopped, the other serves."""
    world = pair()
    world.engine_dies("a")
    world.pass_time(6)
    return world


def frozen_primary() -> World:
    """The primary is paused and wakes up: it listens first, and does not go on in an old epoch."""
    world = pair()
    world.freeze("a")
    world.pass_time(6)
    world.thaw("a")
    world.pass_time(2)
    return world


def failover_off() -> World:
    """With failover = false a person decides."""
    world = pair(failover=False)
    world.power_cut("a")
    world.pass_time(4)
    world.note(world.picture())
    world.note(world.ask("b", PrimAsked()))
    return world


def failover_off_and_a_stop() -> World:
    """With failover = false a stop moves nothing either, and no failure does; a swap does."""
    world = pair(failover=False)
    world.tell("a", CheckerTripped("web", "failover", "no answer"))
    world.pass_time(2)
    world.note(world.picture())
    world.note(world.ask("a", StopAsked()))
    world.pass_time(4)
    world.note(world.picture())
    world.note(world.ask("a", StartAsked()))
    world.pass_time(4)
    world.note(world.ask("a", SwapAsked()))
    world.pass_time(2)
    return world


def engine_does_not_start_at_boot() -> World:
    """Nobody waits for the answer: it is tried again, then the module stops with an alarm."""
    world = pair()
    world.power_cut("b")
    world.pass_time(4)
    world.broken_engines.add("b")
    world.boot("b")
    world.pass_time(20)
    return world


STORIES: tuple[Callable[[], World], ...] = (
    first_start,
    swap,
    swap_goes_back,
    power_cut,
    power_cut_of_the_second,
    failback,
    orderly_stop,
    stale_start,
    both_lose_power,
    service_failures,
    checker_failover,
    checker_wait,
    checker_wait_alone,
    checker_wait_at_start,
    start_fails_alone,
    split,
    flow_lost,
    heartbeats_lost,
    primary_lost_in_resync,
    peer_dies_in_swap,
    daemon_restarts,
    engine_dies,
    frozen_primary,
    failover_off,
    failover_off_and_a_stop,
    engine_does_not_start_at_boot,
    *ARBITRATION_STORIES,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_story(story: Callable[[], World]) -> None:
    world = story()
    told = f"{(story.__doc__ or story.__name__).strip()}\n\n"
    told += "\n".join(world.story) + f"\n\n{world.picture()}\n"
    file = HERE / f"{story.__name__}.txt"
    if os.environ.get("TWOFOLD_REWRITE"):
        file.write_text(told)
    assert told == file.read_text()


def test_each_transcript_has_its_story() -> None:
    assert {f.stem for f in HERE.glob("*.txt")} == {s.__name__ for s in STORIES}
