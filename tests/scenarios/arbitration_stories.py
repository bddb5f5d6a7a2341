"""Stories in which somebody rules: a witness, or addresses that are pinged."""

from __future__ import annotations

from tests.fakes.world import World, pair
from twofold.machine.events import PrimAsked, StartAsked, StopAsked, SwapAsked


def witnessed(**settings: object) -> World:
    """A pair with a witness; the first node must reach it, because it is alone then."""
    world = World(arbitration="witness", **settings)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    world.pass_time(5)
    world.ask("b", StartAsked())
    world.pass_time(1)
    world.story.clear()
    return world


def witness_cut() -> World:
    """All ways between the nodes are cut; both reach the witness, and one goes on."""
    world = witnessed()
    world.heartbeats_pass = world.flow_passes = False
    world.pass_time(5)
    world.note(world.picture())
    world.heartbeats_pass = world.flow_passes = True
    world.pass_time(2)
    return world


def witness_primary_cut_off() -> World:
    """The primary is cut off from everything: it stops serving, and the other takes over."""
    world = witnessed()
    world.witnesses.out_of_reach = {"a"}
    world.heartbeats_pass = world.flow_passes = False
    world.pass_time(5)
    world.note(world.picture())
    world.witnesses.out_of_reach = set()
    world.heartbeats_pass = world.flow_passes = True
    world.pass_time(2)
    return world


def witness_out_of_reach() -> World:
    """Nobody reaches the witness when the nodes lose each other: nobody serves until it is back."""
    world = witnessed()
    world.witnesses.out_of_reach = {"a", "b"}
    world.heartbeats_pass = world.flow_passes = False
    world.pass_time(5)
    world.note(world.picture())
    world.witnesses.out_of_reach = set()
    world.pass_time(3)
    world.note(world.picture())
    return world


def witness_not_needed() -> World:
    """Without the witness, what the two agree on goes on: an orderly stop, a start, a swap."""
    world = witnessed()
    world.witnesses.out_of_reach = {"a", "b"}
    world.ask("a", StopAsked())
    world.pass_time(1)
    world.ask("a", StartAsked())
    world.pass_time(1)
    world.ask("b", SwapAsked())
    world.pass_time(1)
    return world


def witness_power_cut() -> World:
    """The primary dies: the secondary asks, is answered, and takes over."""
    world = witnessed()
    world.power_cut("a")
    world.pass_time(4)
    world.boot("a")
    world.pass_time(4)
    return world


def witness_frozen_primary() -> World:
    """The primary was paused while the other took over; it wakes up in an epoch that is over."""
    world = witnessed()
    world.freeze("a")
    world.pass_time(6)
    world.client_write()
    world.thaw("a")
    world.pass_time(2)
    return world


def ping_primary_cut_off() -> World:
    """With ping addresses: who reaches none of them stops serving."""
    world = pair(arbitration="ping")
    world.witnesses.out_of_reach = {"a"}
    world.heartbeats_pass = world.flow_passes = False
    world.pass_time(5)
    world.note(world.picture())
    world.witnesses.out_of_reach = set()
    world.heartbeats_pass = world.flow_passes = True
    world.pass_time(2)
    return world


ARBITRATION_STORIES = (
    witness_cut,
    witness_primary_cut_off,
    witness_out_of_reach,
    witness_not_needed,
    witness_power_cut,
    witness_frozen_primary,
    ping_primary_cut_off,
)
