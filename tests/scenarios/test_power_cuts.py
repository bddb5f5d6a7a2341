"""Power cuts at any moment, also in the middle of a swap or a resync.

No acknowledged write is lost, and when both nodes are back the pair becomes whole by itself.
"""

from __future__ import annotations

import random

import pytest

from tests.fakes.world import World
from tests.scenarios.test_safety import COMMANDS, MOVES, move, pair, replay_told
from twofold.machine.events import StartAsked
from twofold.machine.model import SERVING, State

FAULTS = ("power cut", "power on", "daemon restarts", "seconds pass", "write")
ASKED = ("swap", "stop", "start", "restart", "service dies", "checker")


def fault(world: World, node: str, what: str) -> None:
    alive = world[node].alive
    match what:
        case "power cut":
            if alive:
                world.power_cut(node)
        case "power on":
            if not alive:
                world.boot(node)
        case "daemon restarts":
            if alive:
                world.restart_daemon(node)
        case "seconds pass":
            world.pass_time(4.0)
        case "write":
            world.client_write()
        case _ if alive or what not in COMMANDS:
            move(world, node, what)
        case _:
            pass


def check(world: World) -> None:
    serving = [m for m in world.machines.values() if m.alive and m.engine.role == "primary"]
    assert len(serving) < 2, "two serve"
    for m in serving:
        if m.app and m.view.state in SERVING:
            assert m.engine.data == world.acknowledged, f"writes are lost on {m.name}"


def stagger(world: World, seed: int, steps: int) -> None:
    dice = random.Random(seed)
    for _ in range(steps):
        chance = dice.random()
        words = MOVES if chance < 0.8 else FAULTS if chance < 0.93 else ASKED
        fault(world, dice.choice("ab"), dice.choice(words))
        check(world)


@pytest.mark.parametrize("block", range(5))
def test_no_acknowledged_write_is_lost_and_the_pair_returns(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        world = pair()
        with replay_told(seed, world):
            stagger(world, seed, 200)
            for node in ("a", "b"):
                if not world[node].alive:
                    world.boot(node)
            world.pass_time(15)
            check(world)
            for node in ("a", "b"):
                world.ask(node, StartAsked())
            world.pass_time(15)
            check(world)
            states = {m.view.state for m in world.machines.values()}
            assert states == {State.PRIM, State.SECOND}, world.picture()


def test_the_service_survives_any_single_power_cut() -> None:
    """Cut either node after any number of steps of a swap: four seconds later somebody serves."""
    for victim in ("a", "b"):
        for steps in range(14):
            world = pair()
            world.client_write()
            world.tell("a", COMMANDS["swap"])
            for i in range(steps):
                node = "ab"[i % 2]
                world.deliver(node)
                world.work(node)
                world.replicate()
            world.power_cut(victim)
            world.settle()
            world.pass_time(5)
            check(world)
            served = any(m.app and m.alive for m in world.machines.values())
            assert served, f"cut {victim} after {steps}\n" + "\n".join(world.story)
