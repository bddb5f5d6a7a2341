"""Nodes that lose each other, with a witness: one goes on, never both.

The stories are in transcripts/. Here: any order of cuts, witnesses out of reach, paused nodes,
power cuts and writes; checked at each step, and in the end, when all is well, a whole pair.
"""

from __future__ import annotations

import random

import pytest

from tests.fakes.machine import Machine
from tests.fakes.world import World
from tests.scenarios.test_safety import COMMANDS, MOVES, move, replay_told
from twofold.machine.arbitration import NOBODY, term_of
from twofold.machine.events import PrimAsked, StartAsked
from twofold.machine.model import SERVING, State

FAULTS = (
    "cut",
    "cut",
    "heartbeats cut",
    "heal",
    "witness gone",
    "witness back",
    "power cut",
    "power on",
    "daemon restarts",
    "seconds pass",
    "seconds pass",
    "write",
    "write",
    "freeze",
    "thaw",
    "rule",
)
ASKED = ("swap", "stop", "start", "restart", "service dies", "checker")


def pair(**settings: object) -> World:
    world = World(arbitration="witness", max_loops=1000, **settings)
    world.ask("a", PrimAsked())
    world.pass_time(4)
    world.ask("b", StartAsked())
    world.pass_time(1)
    assert world.states() == "a=PRIM b=SECOND", world.picture()
    return world


def fault(world: World, node: str, what: str, dice: random.Random) -> None:
    alive, awake = world[node].alive, node not in world.frozen
    match what:
        case "cut":
            world.heartbeats_pass = world.flow_passes = False
        case "heartbeats cut":
            world.heartbeats_pass = False
        case "heal":
            world.heartbeats_pass = world.flow_passes = True
        case "witness gone":
            world.witnesses.out_of_reach.add(node)
        case "witness back":
            world.witnesses.out_of_reach.discard(node)
        case "power cut":
            if alive and awake:
                world.power_cut(node)
        case "power on":
            if not alive:
                world.boot(node)
        case "daemon restarts":
            if alive and awake:
                world.restart_daemon(node)
        case "seconds pass":
            world.pass_time(dice.choice([0.4, 1.0, 3.2, 5.0]))
        case "write":
            world.client_write()
        case "freeze":
            if alive and awake:
                world.freeze(node)
        case "thaw":
            if not awake:
                world.thaw(node)
        case "rule":
            world.rule()
        case _ if alive and awake:
            move(world, node, what)
        case _:
            pass


def check(world: World, served: dict[int, str]) -> None:
    """No epoch has ever two nodes that serve in it, and who acknowledges has every write."""
    for m in world.machines.values():
        if not m.alive or m.engine.role != "primary" or not (m.app or m.address):
            continue
        epoch = m.engine.disk.epoch
        owner = served.setdefault(epoch, m.name)
        assert owner == m.name, f"{owner} and {m.name} serve in epoch {epoch}"
        if term_of(epoch) and epoch % 1_000_000 == 0:
            assert world.witnesses.stored[0].term >= term_of(epoch), "served without the claim"
    lone = [m for m in world.machines.values() if m.alive and acknowledges_alone(m)]
    assert len(lone) < 2, "both acknowledge writes alone"
    for m in lone:
        assert m.engine.data == world.acknowledged, f"writes are lost on {m.name}"


def acknowledges_alone(m: Machine) -> bool:
    serves = m.app and m.address and m.view.state in SERVING
    return serves and m.engine.role == "primary" and m.engine.disk.sole and not m.engine.linked


def recover(world: World) -> None:
    for node in list(world.frozen):
        world.thaw(node)
    world.heartbeats_pass = world.flow_passes = True
    world.witnesses.out_of_reach.clear()
    for node in ("a", "b"):
        if not world[node].alive:
            world.boot(node)


@pytest.mark.parametrize("block", range(6))
def test_one_goes_on_and_the_pair_returns(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        world, served, dice = pair(), dict[int, str](), random.Random(seed)
        with replay_told(seed, world):
            for _ in range(150):
                chance = dice.random()
                words = MOVES[:3] if chance < 0.7 else FAULTS if chance < 0.93 else ASKED
                fault(world, dice.choice("ab"), dice.choice(words), dice)
                check(world, served)
            recover(world)
            for node in ("a", "b", "a", "b"):
                world.pass_time(15)
                check(world, served)
                world.ask(node, StartAsked())
            world.pass_time(15)
            check(world, served)
            states = {m.view.state for m in world.machines.values()}
            assert states == {State.PRIM, State.SECOND}, world.picture()


@pytest.mark.parametrize("lost", ["a", "b", "both", "neither"])
def test_a_cut_leaves_one_that_serves_if_it_reaches_the_witness(lost: str) -> None:
    world = pair()
    world.client_write()
    world.witnesses.out_of_reach = {n for n in "ab" if lost in (n, "both")}
    world.heartbeats_pass = world.flow_passes = False
    world.pass_time(6)
    serving = {m.name for m in world.machines.values() if m.app and m.address}
    expected: dict[str, set[str]] = {"a": {"b"}, "b": {"a"}, "both": set()}
    assert serving == expected.get(lost, serving) and len(serving) == (lost != "both")
    world.witnesses.out_of_reach = set()
    world.pass_time(3)
    assert len([m for m in world.machines.values() if m.app and m.address]) == 1
    world.heartbeats_pass = world.flow_passes = True
    world.pass_time(8)
    assert {m.view.state for m in world.machines.values()} == {State.PRIM, State.SECOND}


def test_a_claim_that_was_not_needed_does_not_spoil_the_next() -> None:
    """The nodes hear each other again just after one has won: both may still win the next time."""
    for victim in ("a", "b"):
        world = pair()
        world.heartbeats_pass = world.flow_passes = False
        world.witnesses.out_of_reach = {"a"}
        world.now_s += 2.9
        for name in ("a", "b"):
            world.tell(name, COMMANDS["start"])
        world.pass_time(0.2)
        world.heartbeats_pass = world.flow_passes = True
        world.witnesses.out_of_reach = set()
        world.pass_time(8)
        assert {m.view.state for m in world.machines.values()} == {State.PRIM, State.SECOND}
        world.power_cut(victim)
        world.pass_time(6)
        assert [m.name for m in world.machines.values() if m.app] == ["b" if victim == "a" else "a"]


def test_what_the_witness_has_forgotten_is_claimed_anew() -> None:
    world = pair()
    world.power_cut("a")
    world.pass_time(6)
    world.boot("a")
    world.pass_time(6)
    world.witnesses.stored = [NOBODY]
    world.power_cut("b")
    world.pass_time(6)
    assert (
        world["a"].app
        and term_of(world["a"].engine.disk.epoch) == world.witnesses.stored[0].term > 1
    )
