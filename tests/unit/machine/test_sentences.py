"""Every situation is told in plain words, with what to do next."""

from __future__ import annotations

from tests.fakes.world import World
from twofold.machine.events import PrimAsked, StartAsked
from twofold.machine.sentences import explain


def told(world: World, node: str) -> tuple[str, str]:
    return explain(world[node].view, "files")


def test_a_whole_pair_needs_nothing() -> None:
    world = World()
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    world.pass_time(1)
    assert told(world, "a") == ("Serving; b has everything.", "Nothing to do.")
    assert told(world, "b")[0] == "This copy is current; this node takes over when a is lost."


def test_a_stale_node_says_whom_it_waits_for() -> None:
    world = World()
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    world.power_cut("b")
    world.pass_time(4)
    world.power_cut("a")
    world.boot("b")
    world.pass_time(4)
    sentence, mend = told(world, "b")
    assert sentence == "Waiting for a, which may have newer data."
    assert mend == "Start a, or run `twofold prim files --yes` here if a is lost for ever."


def test_a_lonely_primary_says_what_is_at_stake() -> None:
    world = World()
    world.ask("a", PrimAsked())
    world.pass_time(1)
    sentence, mend = told(world, "a")
    assert sentence.startswith("Serving alone: b is STOP.")
    assert mend == "On b: twofold start files"
