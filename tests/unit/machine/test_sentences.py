"""Every situation is told in plain words, with what to do next."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.world import World
from twofold.machine.events import PrimAsked, StartAsked, StopAsked
from twofold.machine.model import (
    Engine,
    Generation,
    Relation,
    Report,
    Settings,
    State,
    View,
    Wish,
)
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


def test_a_second_that_is_not_to_take_over_says_that_nobody_serves() -> None:
    world = World(failover=False)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    world.pass_time(2)
    world.ask("a", StopAsked())
    world.pass_time(2)
    sentence, mend = told(world, "b")
    assert sentence == "a is stopped, this copy is current, and failover is off: nobody serves."
    assert mend == "To serve here: twofold prim files"


def test_who_waits_for_the_end_of_the_others_application_says_so() -> None:
    world = World()
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    world.pass_time(2)
    seen = world["b"].view
    assert seen.peer is not None
    stopping = replace(seen.peer, state=State.WAIT, busy=True, leaving=True)
    asks = replace(seen, state=State.WAIT, wish=Wish.PRIM_FORCED, claim=3, peer=stopping)
    assert explain(asks, "files")[0] == "About to serve, as soon as a has stopped what runs there."


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


LOST = View(
    settings=Settings(arbitration="witness"),
    state=State.WAIT,
    wish=Wish.START,
    now_s=100.0,
    peer_heard_s=10.0,
    engine=Engine(generation=Generation(current="aa")),
    arbiter_text="no route to host",
)


def test_a_node_without_a_ruling_names_the_witness_and_what_it_said() -> None:
    for view in (replace(LOST, undecided=True), replace(LOST, state=State.SECOND, no_ruling=True)):
        text, mend = explain(view, "files")
        assert "b is not heard and the witness does not answer (no route to host)" in text
        assert "reaches the witness or b" in mend and "twofold prim files --yes" in mend


def test_a_node_that_was_ruled_against_says_who_serves() -> None:
    text, mend = explain(replace(LOST, overruled=True), "files")
    assert "the witness gave the service to it" in text and "--yes" not in mend


def test_a_node_that_waits_for_an_unwell_one_says_so() -> None:
    data = Generation(current="aa")
    view = replace(
        LOST,
        settings=Settings(),
        peer_heard_s=99.9,
        engine=Engine(generation=data, trusted=False),
        peer=Report(state=State.WAIT, generation=replace(data, role="primary"), trusted=False),
        relation=Relation.EQUAL,
    )
    assert "serves next" in explain(view, "files")[0]
    assert view.peer is not None
    text, mend = explain(replace(view, peer=replace(view.peer, unwell=True)), "files")
    assert "a checker there is not well" in text and "on b" in mend
