"""Every situation is told in plain words, with what to do next."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.world import World
from twofold.machine.events import PrimAsked, StartAsked
from twofold.machine.model import Engine, Generation, State, View
from twofold.machine.sentences import explain, rescue_news


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


def test_what_was_saved_after_a_split_is_told_until_it_is_gone() -> None:
    busy, kept, gone = Engine(rescuing=True), Engine(rescues=1), Engine()
    assert "saved before" in rescue_news(None, busy, "files")[0]
    assert rescue_news(busy, busy, "files") == []
    assert "twofold mirror rescue list files" in rescue_news(busy, kept, "files")[0]
    assert rescue_news(busy, gone, "files") == []
    assert rescue_news(kept, kept, "files") == []
    generation = Generation(current="1", base="1")
    engine = Engine("secondary", 4, link_up=True, up_to_date=True, generation=generation)
    view = View(state=State.SECOND, engine=replace(engine, rescues=1))
    sentence, mend = explain(view, "files")
    assert "What only this node had before a resync is kept." in sentence
    assert mend
    copying = replace(engine, up_to_date=False, rescuing=True)
    sentence, _ = explain(replace(view, engine=copying), "files")
    assert "What only this node had is saved before it is overwritten." in sentence
